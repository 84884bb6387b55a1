/* kto.c - Kahneman-Tversky optimisation: single responses, each desirable or not; of pairs the winner is, the loser is not.
 * Source : arXiv 2402.01306, eq. 8; apo_zero_unpaired: arXiv 2408.06266, on single responses as in TRL.
 * Needs  : single responses with labels (reader `unpaired`) or pairs; reference log-probabilities; for kto the log-ratio of another
 *          prompt's response after each prompt.
 * Loss   : mean over responses; those without a label (ties, abstentions) count 0:
 *            kto                w_d (1 - s(beta (rho - z)))   desirable, w_u (1 - s(beta (z - rho)))   undesirable
 *            apo_zero_unpaired  w_d (1 - s(beta rho))         desirable, w_u s(beta rho)               undesirable
 *          z = max(0, mean over the step of the mismatched log-ratios): the divergence from the reference, without derivative. */
#include <sail/objective.h>
#include <sail/plugin.h>
#include <stdlib.h>

enum { KTO, APO_ZERO_UNPAIRED };
struct kto {
    int loss_type;
    double desirable_weight, undesirable_weight;
};

static const char *const loss_types[] = {"kto", "apo_zero_unpaired", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct kto, loss_type, .choices = loss_types, .def = KTO, .help = "kto; or without the divergence"),
    SAIL_OPT_F64(struct kto, desirable_weight, .def = 1, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "of desirable responses; more than 1 where they are few"),
    SAIL_OPT_F64(struct kto, undesirable_weight, .def = 1, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "of undesirable responses"),
    {0},
};

/* The divergence is what is held still for the whole step, so it stands where a baseline would. */
static sail_code prepare(const void *self, sail_tape *t, const sail_pairs *b, double *state, double *baseline)
{
    const struct kto *o = self;
    if (o->loss_type != KTO || b->mismatched_rho.id <= 0) /* a step of which one prompt was left tells no divergence: 0 */
        return SAIL_OK;
    const double *rho = sail_value_of(t, b->mismatched_rho);
    double sum = 0;
    for (int64_t i = 0; i < b->n; i++)
        sum += rho[i];
    for (int64_t i = 0; i < b->n; i++)
        baseline[i] = sum > 0 ? sum / (double)b->n : 0;
    return SAIL_OK;
}

/* sign: 1 desirable, -1 undesirable; weight: 0 where there is no label. */
static void labels(const struct kto *o, const sail_pairs *b, double *sign, double *weight)
{
    for (int64_t k = 0; k < b->layout->responses; k++) {
        const int d = b->desirable[k];
        sign[k] = d == SAIL_UNDESIRABLE ? -1 : 1;
        weight[k] = d == SAIL_DESIRABLE ? o->desirable_weight : d == SAIL_UNDESIRABLE ? o->undesirable_weight : 0;
    }
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct kto *o = self;
    const int64_t n = b->layout->responses;
    double *x = calloc(2 * (size_t)n + 1, sizeof *x);
    if (!x) {
        sail_tape_fail(t, SAIL_E_NOMEM, "kto: no memory for %lld responses", (long long)n);
        return sail_tape_status(t);
    }
    labels(o, b, x, x + n);
    sail_var sign = sail_tape_constant(t, SAIL_RESPONSE, n, x), weight = sail_tape_constant(t, SAIL_RESPONSE, n, x + n);
    free(x);
    sail_var kl = sail_tape_constant(t, SAIL_PAIR, b->n, b->baseline);
    sail_var lead = sail_sub(t, b->scores, sail_mul(t, sail_number(t, b->beta), sail_spread(t, kl, SAIL_RESPONSE)));
    sail_var worth = sail_sigmoid(t, sail_mul(t, sign, lead));
    sail_var each = sail_mul(t, weight, sail_sub(t, sail_number(t, 1), worth));
    out->per_pair = sail_mean_responses(t, each);
    out->loss = sail_mean(t, each);
    sail_loss_metric(out, "/kl", kl);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss, .prepare = prepare};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, kto, "single responses, each desirable or not", "arXiv:2402.01306", struct kto, opts, &ops,
            SAIL_CAP_UNPAIRED | SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_MISMATCHED)
