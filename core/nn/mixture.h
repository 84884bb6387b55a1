/* mixture.h - a token of the geometric mixture of two models, pi^(1-w) ref^w, made anew at every position.
 *
 * Floor: nn. Pure. Source: Nash-MD, arXiv 2312.00886, section 7 (the one-step-at-a-time approximation). */
#ifndef SAIL_MIXTURE_H
#define SAIL_MIXTURE_H

#include "../base/base.h"
#include "../sail/sampler.h"

/* logits[0], logits[1]: [n] of the two models, before the soft cap (0: none). filter: what the mixture goes through before it is drawn
 * from; u in (0, 1). p: [n] and order: [n] of the caller's. *logp: of the drawn token under the first model at temperature 1, *drawn: under
 * what was drawn from; nats. A logit that is not a number is SAIL_E_NUMERIC. */
sail_code sail__mixture_draw(const float *const logits[2], int64_t n, double softcap, double weight, const sail_filter_params *filter,
                             double u, double *p, int32_t *order, int32_t *id, float *logp, float *drawn, sail_err *err);

#endif
