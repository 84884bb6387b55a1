/* sigmoid_norm.c - DPO on log-ratios per token.
 * Source : TRL, sigmoid_norm; the averaging of arXiv 2405.14734 with a reference.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : -log sigmoid(beta (rho_w/|y_w| - rho_l/|y_l|)), nats, mean over pairs; pairs that nobody won count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var margin = sail_sub(t, sail_div(t, w.score, w.length), sail_div(t, l.score, l.length));
    sail_var per = sail_neg(t, sail_log_sigmoid(t, margin));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, sigmoid_norm, "DPO on log-ratios per token", "TRL", &ops,
                       SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
