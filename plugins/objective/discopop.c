/* discopop.c - the loss that a language model found: logistic and exponential, blended by the margin.
 * Source : arXiv 2406.08414, LRML.
 * Needs  : pairs of two; reference log-probabilities.
 * Loss   : -log s(z) (1 - m) + e^-z m, m = s(z / tau), z = beta (rho_w - rho_l), mean over pairs; pairs that nobody won
 * count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

struct discopop {
    double discopop_tau;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct discopop, discopop_tau, .def = 0.05, .min = 1e-06, .max = 1000000.0,
                 .flags = SAIL_OPT_SCHEDULABLE, .help = "temperature of the blend"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct discopop *o = self;
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    sail_var z = sail_sub(t, w.score, l.score),
             m = sail_sigmoid(t, sail_mul(t, z, sail_number(t, 1 / o->discopop_tau)));
    sail_var logistic = sail_neg(t, sail_log_sigmoid(t, z)), exponential = sail_exp(t, sail_neg(t, z));
    sail_var stay = sail_sub(t, sail_number(t, 1), m);
    sail_var per = sail_add(t, sail_mul(t, logistic, stay), sail_mul(t, exponential, m));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, discopop, "logistic and exponential loss, blended by the margin", "arXiv:2406.08414",
            struct discopop, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
