/* rmsprop.c - RMSprop as torch.optim.RMSprop defines it. */
#include <sail/optimizer.h>
#include <sail/plugin.h>

struct rmsprop {
    double alpha, eps, weight_decay, momentum;
    bool centered;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct rmsprop, alpha, .def = 0.99, .min = 0, .max = 0.9999999, .help = "decay of the mean of squares"),
    SAIL_OPT_F64(struct rmsprop, eps, .def = 1e-8, .min = 0, .max = 1, .help = "added to the root"),
    SAIL_OPT_F64(struct rmsprop, weight_decay, .def = 0, .min = 0, .max = 10, .help = "added to the gradient, times the weight"),
    SAIL_OPT_F64(struct rmsprop, momentum, .def = 0, .min = 0, .max = 0.9999999, .help = "0: none"),
    SAIL_OPT_BOOL(struct rmsprop, centered, .help = "take off the squared mean of gradients"),
    {0},
};

static void plan(const void *self, sail_optimizer_plan *out)
{
    const struct rmsprop *o = self;
    out->op = SAIL_OP_RMSPROP;
    out->attr.beta1 = (float)o->alpha;
    out->attr.adam_eps = (float)o->eps;
    out->attr.weight_decay = (float)o->weight_decay;
    out->attr.momentum = (float)o->momentum;
    out->attr.centered = o->centered;
    out->state_input[out->states] = 3;
    out->state_name[out->states++] = "square_avg";
    if (o->momentum != 0) {
        out->state_input[out->states] = 4;
        out->state_name[out->states++] = "momentum_buffer";
    }
    if (o->centered) {
        out->state_input[out->states] = 5;
        out->state_name[out->states++] = "grad_avg";
    }
    out->shadow_input = 6;
}

static const sail_optimizer ops = {.size = sizeof ops, .plan = plan};
SAIL_PLUGIN(SAIL_KIND_OPTIMIZER, rmsprop, "RMSprop: steps divided by a running root of squares", "Hinton, lecture 6e of CSC321", struct rmsprop, opts, &ops, 0)
