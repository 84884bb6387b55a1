/* passes.h - the model's passes over the groups of a step: packing into forests, reference, forward, backward.
 *
 * Floor: align. Threads: one. A micro-batch is a run of groups whose tokens fit the budget; splitting a step changes no gradient
 * beyond rounding, since objectives divide by the whole step's counts. Groups made of one prompt's responses (sail__group.shared) have
 * the prompt and each response once in a micro-batch. */
#ifndef SAIL_PASSES_H
#define SAIL_PASSES_H

#include "../nn/model.h"
#include "step.h"

typedef struct sail__micro { /* groups [first, first + n) */
    int64_t first, n, tokens;
} sail__micro;

typedef struct sail__passes {
    sail__model *model;
    sail__forest forest;
    int64_t forest_first, forest_n; /* groups that the forest holds; n 0: none */
    float *rows[3], *grads[3]; /* work space of a pass: logp, entropy, log sum p^2 */
    size_t cap;
    int64_t *at; /* of each group of the forest: first rows, see passes.c */
    size_t at_cap;
    double flops;   /* of all passes so far, counted */
    int64_t labels; /* of the model's score head; 0: a language model */
    bool prompts;   /* the policy's prompts are scored as well */
} sail__passes;

void sail__passes_init(sail__passes *p, sail__model *m);
void sail__passes_free(sail__passes *p);

/* Cut the step into micro-batches: at most `groups` groups (0: any number) and max_tokens packed tokens each, at least one. In
 * the step's arena. */
sail_code sail__passes_plan(const sail__step *s, int64_t groups, int64_t max_tokens, sail__micro **out, int64_t *n, sail_err *err);

/* Fill r[].ref of a micro-batch's groups that do not have it. */
sail_code sail__passes_reference(sail__passes *p, sail__step *s, const sail__micro *m, sail_err *err);

typedef enum sail__pass {
    SAIL__PASS_EVAL,  /* without dropout */
    SAIL__PASS_PROBE, /* what SAIL__PASS_TRAIN will give, before it is run */
    SAIL__PASS_TRAIN, /* with dropout where the adapter has it; a backward follows */
} sail__pass;

/* Fill r[].logp (and entropy, lss as want says); of a model with a score head r[].head, read at each response's last token. */
sail_code sail__passes_forward(sail__passes *p, sail__step *s, const sail__micro *m, int want, sail__pass pass, sail_err *err);

/* The gradient of the kept forward: derivatives of the loss by token, for responses in order (group, slot, token); entropy
 * and lss may be NULL; d_prompt: of the prompts' tokens but their first ones, in the order of groups, may be NULL. */
sail_code sail__passes_backward(sail__passes *p, sail__step *s, const sail__micro *m, const double *d_logp, const double *d_entropy,
                                const double *d_lss, const double *d_prompt, sail_err *err);
/* The same of a score head: [responses][labels]. */
sail_code sail__passes_scores_backward(sail__passes *p, const sail__micro *m, const double *d_head, sail_err *err);

#endif
