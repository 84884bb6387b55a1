/* exo_pair.c - efficient exact optimisation on pairs.
 * Source : arXiv 2402.00856.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : KL between the margin's sigmoid and the smoothed label, mean over pairs; pairs that nobody won count 0. */
#include <math.h>
#include <sail/objective.h>
#include <sail/plugin.h>

struct exo_pair {
    double label_smoothing;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct exo_pair, label_smoothing, .def = 0.001, .min = 1e-12, .max = 0.5,
                 .flags = SAIL_OPT_SCHEDULABLE, .help = "share of labels taken to be flipped; above 0"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct exo_pair *o = self;
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var z = sail_sub(t, w.score, l.score), back = sail_neg(t, z);
    sail_var kept = sail_sub(t, sail_log_sigmoid(t, z), sail_number(t, log1p(-o->label_smoothing)));
    sail_var flipped = sail_sub(t, sail_log_sigmoid(t, back), sail_number(t, log(o->label_smoothing)));
    sail_var per = sail_add(t, sail_mul(t, sail_sigmoid(t, z), kept), sail_mul(t, sail_sigmoid(t, back), flipped));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, exo_pair, "reverse KL to the smoothed label", "arXiv:2402.00856", struct exo_pair,
            opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
