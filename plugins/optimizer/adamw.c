/* adamw.c - AdamW: Adam with decoupled weight decay.
 * Source : arXiv 1711.05101; torch.optim.AdamW. */
#include <sail/optimizer.h>
#include <sail/plugin.h>

struct adamw {
    double beta1, beta2, eps, weight_decay;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct adamw, beta1, .def = 0.9, .min = 0, .max = 0.9999999, .help = "decay of the mean of gradients"),
    SAIL_OPT_F64(struct adamw, beta2, .def = 0.999, .min = 0, .max = 0.9999999, .help = "decay of the mean of squares"),
    SAIL_OPT_F64(struct adamw, eps, .def = 1e-8, .min = 0, .max = 1, .help = "added to the root"),
    SAIL_OPT_F64(struct adamw, weight_decay, .def = 0, .min = 0, .max = 10, .help = "times the learning rate, off the weights"),
    {0},
};

static void plan(const void *self, sail_optimizer_plan *out)
{
    const struct adamw *o = self;
    out->op = SAIL_OP_ADAMW;
    out->attr.beta1 = (float)o->beta1;
    out->attr.beta2 = (float)o->beta2;
    out->attr.adam_eps = (float)o->eps;
    out->attr.weight_decay = (float)o->weight_decay;
    out->states = 2;
    out->state_input[0] = 3;
    out->state_input[1] = 4;
    out->shadow_input = 5;
    out->state_name[0] = "exp_avg";
    out->state_name[1] = "exp_avg_sq";
}

static const sail_optimizer ops = {.size = sizeof ops, .plan = plan};
SAIL_PLUGIN(SAIL_KIND_OPTIMIZER, adamw, "Adam with decoupled weight decay", "arXiv:1711.05101", struct adamw, opts, &ops, 0)
