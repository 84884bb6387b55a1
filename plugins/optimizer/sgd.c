/* sgd.c - stochastic gradient descent with momentum, as torch.optim.SGD defines it. */
#include <sail/optimizer.h>
#include <sail/plugin.h>

struct sgd {
    double momentum, dampening, weight_decay;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct sgd, momentum, .def = 0, .min = 0, .max = 0.9999999, .help = "0: none"),
    SAIL_OPT_F64(struct sgd, dampening, .def = 0, .min = 0, .max = 1, .help = "of the gradient's share in the momentum"),
    SAIL_OPT_F64(struct sgd, weight_decay, .def = 0, .min = 0, .max = 10, .help = "added to the gradient, times the weight"),
    {0},
};

static void plan(const void *self, sail_optimizer_plan *out)
{
    const struct sgd *o = self;
    out->op = SAIL_OP_SGD;
    out->attr.momentum = (float)o->momentum;
    out->attr.dampening = (float)o->dampening;
    out->attr.weight_decay = (float)o->weight_decay;
    if (o->momentum != 0) {
        out->states = 1;
        out->state_input[0] = 3;
        out->state_name[0] = "momentum_buffer";
    }
    out->shadow_input = 4;
}

static const sail_optimizer ops = {.size = sizeof ops, .plan = plan};
SAIL_PLUGIN(SAIL_KIND_OPTIMIZER, sgd, "stochastic gradient descent with momentum", "", struct sgd, opts, &ops, 0)
