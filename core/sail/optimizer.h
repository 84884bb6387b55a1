/* optimizer.h - the block of scalars through which host and device agree on an update.
 *
 * Floor: backend (the layout), align (the kind of plugin). Threads: as for the device.
 * The block is f32 [1, 16] in device memory. The host fills the inputs before a step with one upload; SUM_SQUARES and CLIP
 * fill the outputs; the optimiser ops read them, so that nothing synchronises to decide. */
#ifndef SAIL_OPTIMIZER_H
#define SAIL_OPTIMIZER_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of the control block.
 *
 * CLIP: norm = sqrt(total) * MULTIPLIER. Skip when norm or LOSS is not finite or HOST_SKIP is not 0: then SKIP = 1 and
 * CLIP = 0. Otherwise SKIP = 0 and CLIP = MULTIPLIER * min(1, MAX_NORM / (norm + 1e-6)), or MULTIPLIER where MAX_NORM <= 0.
 * NORM = norm in both cases. The order matters: NaN is looked for before any minimum is taken.
 *
 * The optimisers use g * CLIP as the gradient g, lr = RATE, wd = weight_decay, and change nothing when SKIP is not 0:
 *   ADAMW    w -= lr wd w;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 *            w -= lr / CORRECTION1 * m / (sqrt(v / CORRECTION2) + adam_eps)
 *   RMSPROP  g += wd w;  v = a v + (1 - a) g^2 (a is beta1);  avg = a avg + (1 - a) g, s = v - avg^2 (centered) or s = v;
 *            u = g / (sqrt(s) + adam_eps);  buf = momentum buf + u, u = buf (where momentum != 0);  w -= lr u
 *   SGD      g += wd w;  buf = g at STEP 1, else momentum buf + (1 - dampening) g, g = buf (where momentum != 0);  w -= lr g
 * as in PyTorch. `shadow` is then w rounded to bf16. */
enum {
    SAIL_CONTROL_RATE = 0,        /* in: learning rate */
    SAIL_CONTROL_CLIP = 1,        /* out: what gradients are multiplied by */
    SAIL_CONTROL_SKIP = 2,        /* out: 0 run, 1 skip */
    SAIL_CONTROL_MAX_NORM = 3,    /* in: <= 0 none */
    SAIL_CONTROL_NORM = 4,        /* out: norm of the gradient, before clipping */
    SAIL_CONTROL_STEP = 5,        /* in: number of this update, from 1; skipped ones are not counted */
    SAIL_CONTROL_HOST_SKIP = 6,   /* in: not 0: the host wants this step skipped */
    SAIL_CONTROL_MULTIPLIER = 7,  /* in: normally 1 */
    SAIL_CONTROL_LOSS = 8,        /* in: the step's loss */
    SAIL_CONTROL_CORRECTION1 = 9, /* in: 1 - beta1^step, of the float that the op is given (1 - 0.999f is 1.3e-5 less than 0.001), in double */
    SAIL_CONTROL_CORRECTION2 = 10, /* in: 1 - beta2^step */
    SAIL_CONTROL_SIZE = 16        /* the rest is 0 */
};

/* A plugin of kind SAIL_KIND_OPTIMIZER (its ops point to a sail_optimizer) says which op does the update and with what. */
enum { SAIL_MAX_OPTIMIZER_STATES = 3 };
typedef struct sail_optimizer_plan {
    sail_op op;
    sail_attr attr;    /* weight_decay is put to 0 for parameters that are not decayed */
    int states;        /* f32 vectors as long as the parameters, zero at the start, kept in checkpoints */
    int state_input[SAIL_MAX_OPTIMIZER_STATES]; /* operand of the op each state is */
    int shadow_input;  /* operand that is the bf16 copy */
    const char *state_name[SAIL_MAX_OPTIMIZER_STATES]; /* static: names in checkpoints, "exp_avg" */
} sail_optimizer_plan;

typedef struct sail_optimizer {
    uint32_t size;
    /* Constant for given options; *out is zero on entry. */
    void (*plan)(const void *self, sail_optimizer_plan *out);
} sail_optimizer;

#ifdef __cplusplus
}
#endif
#endif
