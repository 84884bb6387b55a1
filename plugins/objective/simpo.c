/* simpo.c - simple preference optimisation: mean log-probabilities a token, with a target margin and no reference.
 * Source : arXiv 2405.14734, eq. 6; options as in TRL's CPO with loss_type simpo; alpha: AlphaPO, arXiv 2501.03884.
 * Needs  : pairs of two. No reference; beta is about 2 here, not 0.1.
 * Loss   : -(1 - e) log s(z) - e log s(-z), z = beta (r(x_w) - r(x_l)) - gamma, x = log pi(y|x) / |y|, r(x) = x or (1 - e^(-alpha x)) / alpha;
 *          mean over pairs, those that nobody won count 0; + cpo_alpha x mean -log p of a chosen token. */
#include <sail/objective.h>
#include <sail/plugin.h>

struct simpo {
    double simpo_gamma, cpo_alpha, label_smoothing, alpha;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct simpo, simpo_gamma, .def = 0.5, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE, .unit = "nats",
                 .help = "margin that the winner is to have"),
    SAIL_OPT_F64(struct simpo, cpo_alpha, .def = 0, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "weight of the likelihood of the chosen responses; above 0: CPO-SimPO"),
    SAIL_OPT_F64(struct simpo, label_smoothing, .def = 0, .min = 0, .max = 0.5, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "share of labels taken to be flipped"),
    SAIL_OPT_F64(struct simpo, alpha, .def = 0, .min = -10, .max = 10, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "shape of the reward (AlphaPO); 0: mean log-probabilities themselves"),
    {0},
};

/* (1 - e^(-alpha x)) / alpha a token; its limit at alpha = 0 is x. */
static sail_var shaped(sail_tape *t, sail_var mean, double alpha)
{
    sail_var scale = sail_number(t, -alpha);
    return alpha == 0 ? mean : sail_div(t, sail_expm1(t, sail_mul(t, mean, scale)), scale);
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct simpo *o = self;
    sail_side w, l;
    sail_var decided;
    sail_labelled_sides(t, b, &w, &l, &decided);
    const sail_var mean[2] = {sail_div(t, w.logp, w.length), sail_div(t, l.logp, l.length)};
    const sail_var reward[2] = {shaped(t, mean[0], o->alpha), shaped(t, mean[1], o->alpha)};
    sail_var apart = sail_sub(t, reward[0], reward[1]);
    sail_var z = sail_sub(t, sail_mul(t, apart, sail_number(t, b->beta)), sail_number(t, o->simpo_gamma));
    sail_var kept = sail_log_sigmoid(t, z), flipped = sail_log_sigmoid(t, sail_neg(t, z));
    out->per_pair = sail_mul(t, decided, sail_neg(t, sail_lerp(t, kept, flipped, o->label_smoothing)));
    out->loss = sail_mean(t, out->per_pair);
    sail_loss_rewards(t, out, b->beta, reward, mean);
    if (o->cpo_alpha <= 0)
        return sail_tape_status(t);
    sail_var nll = sail_chosen_nll(t, b);
    out->loss = sail_add(t, out->loss, sail_mul(t, nll, sail_number(t, o->cpo_alpha)));
    sail_loss_metric(out, "/nll_loss", nll);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, simpo, "mean log-probabilities with a target margin, no reference", "arXiv:2405.14734",
            struct simpo, opts, &ops, SAIL_CAP_PAIRS)
