/* learner.h - one optimiser step: reference, forward, objective, backward, update, in the order that METHOD 3 asks for.
 *
 * Floor: align. Threads: one. The learner's state (beside the model's) is `state`, which is in checkpoints. */
#ifndef SAIL_LEARNER_H
#define SAIL_LEARNER_H

#include "batch.h"
#include "config.h"
#include "passes.h"

typedef struct sail__learner {
    sail__passes passes;
    sail_tape *tape;
    int want;      /* SAIL_WANT_… values that objective and metrics read */
    int grad_want; /* … that the objective takes derivatives of */
    double state[SAIL_OBJECTIVE_STATE];
    bool couples;           /* the objective was seen to couple the pairs of a step though it does not declare SAIL_CAP_STEP */
    int64_t extra_forwards; /* micro-batches that needed a second forward pass, since the start */
    const double *baseline; /* [pairs] of the last step's gradients, in its arena */
} sail__learner;

static inline sail__objective sail__stage_objective(const sail__stage *s)
{
    return (sail__objective){s->objective.loaded->ops, s->objective.options, s->objective.loaded->plugin.name};
}

/* Derivatives that an objective of these capabilities needs beside that of logp. */
int sail__objective_grad_want(uint32_t caps);

sail_code sail__learner_init(sail__learner *l, sail__model *m, uint32_t objective_caps, sail_err *err);
void sail__learner_free(sail__learner *l);

/* Everything up to the gradients: log-probabilities, labels, loss, derivatives, backward. *loss is the step's. A loss or
 * derivative that is not finite leaves the gradients as they are and sets *numeric; that is no error. */
sail_code sail__learner_gradients(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, double *loss,
                                  bool *numeric, sail_err *err);

/* After the gradients of a step, which stay as they are: what its terms are worth in the model, by passes of their own: forward and
 * backward, one of each pair and up to three of the step.
 *   sail/T1_norm, T2_norm, T3_norm   of the gradients of the terms as they are used, coefficients included
 *   sail/cos_T1_T2, …                between them, where both are there
 *   sail/variance                    of the step's gradient as an estimate, summed over parameters, from how its prompts differ
 *   sail/snr                         squared norm of the gradient over that
 *   sail/share_ROUTE                 of the norms of the prompts' gradients, by route
 * The objective's terms are told apart by its coefficients (METHOD 3): what is left without them is T2. Nothing is told of objectives that
 * read the prompt's tokens or a score head. */
sail_code sail__learner_diagnose(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, sail_err *err);

/* Loss and metrics of groups without learning: for evaluation. */
sail_code sail__learner_evaluate(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, double *loss,
                                 sail_err *err);

#endif
