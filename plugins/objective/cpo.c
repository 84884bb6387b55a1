/* cpo.c - contrastive preference optimisation: the margin of the policy's own log-probabilities, and the winner's likelihood.
 * Source : arXiv 2401.08417, eq. 6; ipo, hinge and label_smoothing as in TRL; alpha: AlphaPO, arXiv 2501.03884.
 * Needs  : pairs of two. No reference.
 * Loss   : mean over pairs of l(d) + cpo_alpha x mean -log p of a chosen token, d = r(x_w) - r(x_l), x = log pi(y|x), for ipo a token;
 *          r(x) = x, or (1 - e^(-alpha x)) / alpha;
 *            sigmoid  -(1 - e) log s(beta d) - e log s(-beta d)      hinge  max(0, 1 - beta d)      ipo  (d - 1/(2 beta))^2
 *          Pairs that nobody won count 0. */
#include <sail/objective.h>
#include <sail/plugin.h>

enum { SIGMOID, HINGE, IPO };
struct cpo {
    int loss_type;
    double cpo_alpha, label_smoothing, alpha;
};

static const char *const loss_types[] = {"sigmoid", "hinge", "ipo", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(struct cpo, loss_type, .choices = loss_types, .def = SIGMOID, .help = "of the margin; ipo: of means a token (simpo: see objective simpo)"),
    SAIL_OPT_F64(struct cpo, cpo_alpha, .def = 1, .min = 0, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "weight of the likelihood of the chosen responses"),
    SAIL_OPT_F64(struct cpo, label_smoothing, .def = 0, .min = 0, .max = 0.5, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "share of labels taken to be flipped; sigmoid only"),
    SAIL_OPT_F64(struct cpo, alpha, .def = 0, .min = -10, .max = 10, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "shape of the reward (AlphaPO); 0: log-probabilities themselves"),
    {0},
};

static sail_var shaped(sail_tape *t, sail_var x, double alpha)
{
    return alpha == 0 ? x : sail_div(t, sail_expm1(t, sail_mul(t, x, sail_number(t, -alpha))), sail_number(t, -alpha));
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct cpo *o = self;
    sail_side w, l;
    sail_var decided, per;
    if (o->label_smoothing > 0 && o->loss_type != SIGMOID)
        sail_tape_fail(t, SAIL_E_OPTION, "label_smoothing acts in loss_type sigmoid only; leave it out, or choose sigmoid");
    sail_labelled_sides(t, b, &w, &l, &decided);
    const bool mean = o->loss_type == IPO;
    const sail_var logp[2] = {mean ? sail_div(t, w.logp, w.length) : w.logp, mean ? sail_div(t, l.logp, l.length) : l.logp};
    const sail_var reward[2] = {shaped(t, logp[0], o->alpha), shaped(t, logp[1], o->alpha)};
    sail_var d = sail_sub(t, reward[0], reward[1]), z = sail_mul(t, d, sail_number(t, b->beta));
    if (o->loss_type == HINGE)
        per = sail_relu(t, sail_sub(t, sail_number(t, 1), z));
    else if (o->loss_type == IPO)
        per = sail_square(t, sail_sub(t, d, sail_number(t, 0.5 / b->beta)));
    else
        per = sail_neg(t, sail_lerp(t, sail_log_sigmoid(t, z), sail_log_sigmoid(t, sail_neg(t, z)), o->label_smoothing));
    out->per_pair = sail_mul(t, decided, per);
    out->loss = sail_mean(t, out->per_pair);
    if (o->cpo_alpha > 0) {
        sail_var nll = sail_chosen_nll(t, b);
        out->loss = sail_add(t, out->loss, sail_mul(t, sail_number(t, o->cpo_alpha), nll));
        sail_loss_metric(out, "/nll_loss", nll);
    }
    sail_loss_rewards(t, out, b->beta, reward, logp);
    return sail_tape_status(t);
}

static const sail_objective ops = {.size = sizeof ops, .loss = loss};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, cpo, "margin without a reference, and the winner's likelihood", "arXiv:2401.08417", struct cpo,
            opts, &ops, SAIL_CAP_PAIRS)
