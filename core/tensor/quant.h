/* quant.h - block-quantised data types, laid out as in GGUF.
 *
 * Floor: tensor. Threads: any. n is a multiple of the type's block. */
#ifndef SAIL_QUANT_H
#define SAIL_QUANT_H

#include "../sail/tensor.h"

/* Every block type; false: t is no block type. */
bool sail__dequantise(sail_dtype t, const unsigned char *src, float *dst, size_t n);
/* Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 by the reference rule; others: SAIL_E_DTYPE. SAIL_E_NUMERIC for a value that is not
 * finite, or a scale that a half cannot hold; what was before it is written. */
sail_code sail__quantise(sail_dtype t, const float *src, unsigned char *dst, size_t n, sail_err *err);

#endif
