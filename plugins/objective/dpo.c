/* dpo.c - Direct Preference Optimization, sigmoid loss; with label_smoothing conservative DPO.
 * Source : arXiv 2305.18290, eq. 7; smoothing: Mitchell, "A note on DPO with noisy preferences" (2023).
 * Needs  : pairs; reference log-probabilities.
 * Loss   : -(1 - e) log q(outcome) - e log q(reversed outcome), nats, mean over pairs, where q is the recipe's
 * preference model on beta (rho_1, rho_2). Under bradley_terry: -log sigmoid(beta (rho_chosen - rho_rejected)). */
#include <sail/objective.h>
#include <sail/plugin.h>

struct dpo {
    double label_smoothing;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct dpo, label_smoothing, .def = 0, .min = 0, .max = 0.5, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "share of labels taken to be flipped"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct dpo *o = self;
    sail_var win = sail_preference_logprob(t, &b->preference, b->scores, b->outcome), per = win;
    if (o->label_smoothing > 0) {
        sail_var lose = sail_preference_logprob(t, &b->preference, b->scores, b->reversed);
        per = sail_lerp(t, win, lose, o->label_smoothing);
    }
    out->per_pair = sail_neg(t, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, dpo, "DPO: the log-likelihood of the labels", "arXiv:2305.18290", struct dpo, opts,
            &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
