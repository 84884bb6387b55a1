/* apo_down.c - anchored preference optimisation, down: for winners worse than the policy.
 * Source : arXiv 2408.06266.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : s(beta rho_w) + 1 - s(beta (rho_w - rho_l)), mean over pairs; pairs that nobody won count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var apart = sail_sub(t, sail_number(t, 1), sail_sigmoid(t, sail_sub(t, w.score, l.score)));
    sail_var per = sail_add(t, sail_sigmoid(t, w.score), apart);
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, apo_down, "anchored: both down, losers more", "arXiv:2408.06266", &ops,
                       SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
