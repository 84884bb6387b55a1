/* bco_pair.c - binary classifier optimisation on pairs.
 * Source : arXiv 2404.04656; without its running shift, as in TRL.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : -log s(beta rho_w) - log s(-beta rho_l), mean over pairs; pairs that nobody won count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var win = sail_log_sigmoid(t, w.score), lose = sail_log_sigmoid(t, sail_neg(t, l.score));
    sail_var per = sail_neg(t, sail_add(t, win, lose));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, bco_pair, "winner and loser as two classes", "arXiv:2404.04656", &ops,
                       SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
