/* aot.c - alignment by optimal transport of paired margins.
 * Source : arXiv 2406.05882.
 * Needs  : pairs of two, all decided; reference log-probabilities; the whole step at once.
 * Loss   : -(1 - e) log s(beta d_i) - e log s(-beta d_i), d_i = the i-th smallest log pi(y_w) - log pi(y_l) less the
 * i-th smallest of the reference, over the whole step; mean over pairs. */
#include <sail/objective.h>
#include <sail/plugin.h>

struct aot {
    double label_smoothing;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct aot, label_smoothing, .def = 0, .min = 0, .max = 0.5, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "share of labels taken to be flipped"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct aot *o = self;
    sail_side w, l;
    sail_labelled_sides(t, b, &w, &l, NULL);
    if (b->n != b->layout->step_pairs)
        sail_tape_fail(t, SAIL_E_SHAPE, "aot sorts the whole step: set train.micro_batch to train.batch");
    sail_var a = sail_sort(t, sail_sub(t, w.logp, l.logp)), r = sail_sort(t, sail_sub(t, w.ref, l.ref));
    sail_var z = sail_mul(t, sail_sub(t, a, r), sail_number(t, b->beta));
    sail_var kept = sail_log_sigmoid(t, z), flipped = sail_log_sigmoid(t, sail_neg(t, z));
    sail_var per = sail_neg(t, sail_lerp(t, kept, flipped, o->label_smoothing));
    out->per_pair = per; /* in the order of the sorted values */
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, aot, "margins of policy and reference compared as distributions", "arXiv:2406.05882",
            struct aot, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_STEP | SAIL_CAP_TAKES_LENGTH)
