/* cdpo.c - conservative DPO: labels taken to be flipped at a known rate; the loss is the expected one of DPO.
 * Source : Mitchell, "A note on DPO with noisy preferences" (2023); TRL's label_smoothing before 1.0.
 * Needs  : groups of responses; reference log-probabilities.
 * Loss   : -(1 - e) log q(outcome) - e log q(reversed outcome), nats, mean over pairs; a tie is its own reverse. */
#include <sail/objective.h>
#include <sail/plugin.h>

struct cdpo {
    double label_smoothing;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct cdpo, label_smoothing, .def = 0.1, .min = 0, .max = 0.5, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "share of labels taken to be flipped"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct cdpo *o = self;
    sail_var kept = sail_preference_logprob(t, &b->preference, b->scores, b->outcome);
    sail_var flipped = sail_preference_logprob(t, &b->preference, b->scores, b->reversed);
    out->per_pair = sail_neg(t, sail_lerp(t, kept, flipped, o->label_smoothing));
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, cdpo, "conservative DPO: some labels are taken to be flipped", "Mitchell, 2023",
            struct cdpo, opts, &ops,
            SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_TAKES_DIVERGENCE | SAIL_CAP_TAKES_LENGTH | SAIL_CAP_TAKES_WEIGHTS)
