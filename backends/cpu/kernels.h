/* kernels.h - the ops that every instruction set's files define. */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include "cpu.h"
#include "vec.h"

bool K(matmul_adds)(const sail_call *first, const sail_call *second);
sail_code K(matmul_sum)(sail_device *d, const sail_call *first, const sail_call *second, sail_err *err);
cpu_op K(embed), K(embed_grad), K(matmul), K(bias_grad), K(add), K(scale), K(cast), K(fill);
cpu_op K(rms_norm), K(rms_norm_back), K(rms_norm_wgrad), K(rope), K(glu), K(glu_back), K(act), K(act_back), K(dropout);
cpu_op K(layer_norm), K(layer_norm_back), K(layer_norm_wgrad);
cpu_op K(gather_rows), K(scatter_rows), K(copy_rows);
cpu_op K(attention), K(attention_back), K(head), K(head_back);
cpu_op K(sample), K(sum_squares), K(clip), K(adamw), K(rmsprop), K(sgd);

#endif
