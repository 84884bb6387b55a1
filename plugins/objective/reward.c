/* reward.c - fitting a reward model: the likelihood of the labels under a preference model of its scores.
 * Source : Bradley and Terry (1952) by way of arXiv 2203.02155, eq. 1; margins: arXiv 2307.09288, 3.2.2; centring: arXiv 2312.09244.
 * Loss   : -log q(outcome | s - margin of the winner) + c (s_1 + s_2)^2, mean over pairs, where q is the recipe's preference model on the
 * scores of the head; with vectors (general) the sum is of each of their numbers, and there is no margin. Under bradley_terry: -log sigmoid(s_chosen - s_rejected - margin). */
#include <sail/objective.h>
#include <sail/plugin.h>

struct reward {
    double margin, center_rewards_coefficient;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct reward, margin, .def = 1, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "factor on the data's score_chosen - score_rejected, which scores must differ by; 0, or with vectors: not used"),
    SAIL_OPT_F64(struct reward, center_rewards_coefficient, .def = 0, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "weight of the squared sum of a pair's scores, which keeps them around 0"),
    {0},
};

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct reward *o = self;
    sail_var scores[SAIL_MAX_WIDTH];
    for (int d = 0; d < b->width && d < SAIL_MAX_WIDTH; d++)
        scores[d] = b->head[d];
    if (b->width == 1) { /* taken from slot 0, the winner as the data have it */
        sail_var ahead = sail_mul(t, b->margin, sail_number(t, o->margin));
        scores[0] = sail_sub(t, scores[0], sail_scatter(t, ahead, b->layout->response_of_pair, SAIL_RESPONSE, b->layout->responses));
    }
    out->per_pair = sail_neg(t, sail_preference_logprob_of(t, &b->preference, b->width, scores, b->outcome));
    for (int d = 0; o->center_rewards_coefficient > 0 && b->has_sides && d < b->width; d++) {
        sail_var sum = sail_add(t, sail_slot_of(t, b->head[d], 0), sail_slot_of(t, b->head[d], 1));
        out->per_pair = sail_add(t, out->per_pair, sail_mul(t, sail_mul(t, sum, sum), sail_number(t, o->center_rewards_coefficient)));
    }
    out->loss = sail_mean(t, out->per_pair);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, reward, "fit a reward model: the likelihood of the labels, with margins and centring", "arXiv:2203.02155",
            struct reward, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_SCORES)
