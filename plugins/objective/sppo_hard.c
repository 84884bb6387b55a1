/* sppo_hard.c - self-play preference optimisation with hard labels.
 * Source : arXiv 2405.00675.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : (rho_w - 1/(2 beta))^2 + (rho_l + 1/(2 beta))^2, mean over pairs; pairs that nobody won count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var target = sail_number(t, 0.5 / b->beta);
    sail_var per = sail_add(t, sail_square(t, sail_sub(t, w.rho, target)), sail_square(t, sail_add(t, l.rho, target)));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_OBJECTIVE, sppo_hard, "squared distance of each log-ratio from +-1/(2 beta)",
                       "arXiv:2405.00675", &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
