/* robust.c - DPO that is unbiased under labels flipped at a known rate.
 * Source : arXiv 2403.00409.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : (-(1 - e) log s(z) + e log s(-z)) / (1 - 2 e), z = beta (rho_w - rho_l), mean over pairs; pairs that nobody
 * won count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

struct robust {
    double label_smoothing;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct robust, label_smoothing, .def = 0, .min = 0, .max = 0.4999, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "share of labels taken to be flipped"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct robust *o = self;
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var z = sail_sub(t, w.score, l.score);
    double e = o->label_smoothing, scale = 1 / (1 - 2 * e);
    sail_var kept = sail_mul(t, sail_number(t, -(1 - e) * scale), sail_log_sigmoid(t, z));
    sail_var per = sail_add(t, kept, sail_mul(t, sail_number(t, e * scale), sail_log_sigmoid(t, sail_neg(t, z))));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, robust, "unbiased under labels flipped at a known rate", "arXiv:2403.00409",
            struct robust, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
