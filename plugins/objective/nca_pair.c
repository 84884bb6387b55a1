/* nca_pair.c - noise contrastive alignment of a pair.
 * Source : arXiv 2402.05369.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : -log s(beta rho_w) - log s(-beta rho_w)/2 - log s(-beta rho_l)/2, mean over pairs; pairs that nobody won
 * count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var half = sail_number(t, 0.5);
    sail_var per = sail_neg(t, sail_log_sigmoid(t, w.score));
    per = sail_sub(t, per, sail_mul(t, half, sail_log_sigmoid(t, sail_neg(t, w.score))));
    per = sail_sub(t, per, sail_mul(t, half, sail_log_sigmoid(t, sail_neg(t, l.score))));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, nca_pair, "noise contrastive alignment", "arXiv:2402.05369", &ops,
                       SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
