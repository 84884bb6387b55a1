/* sigmoid.c - DPO under TRL's name for it; `dpo` has label smoothing besides, which TRL's sigmoid ignores.
 * Source : arXiv 2305.18290, eq. 7.
 * Needs  : groups of responses; reference log-probabilities.
 * Loss   : -log q(outcome), nats, mean over pairs, q the recipe's preference model on the implicit rewards. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    out->per_pair = sail_neg(t, sail_preference_logprob(t, &b->preference, b->scores, b->outcome));
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, sigmoid, "DPO, by TRL's name", "arXiv:2305.18290", &ops,
                       SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE | SAIL_CAP_TAKES_LENGTH |
                           SAIL_CAP_TAKES_WEIGHTS)
