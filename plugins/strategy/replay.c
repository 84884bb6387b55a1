/* replay.c - responses of earlier steps come back: writing is what costs most.
 * They are of an older policy: use the objective's `importance`, and watch sail/replay_ess. The host keeps them in the checkpoint. */
#include <sail/plugin.h>
#include <sail/strategy.h>

struct replay {
    double share;
    int64_t keep, age;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct replay, share, .def = 0.5, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "of the prompts that the policy would answer: an earlier answer instead, where there is one"),
    SAIL_OPT_INT(struct replay, keep, .def = 256, .min = 1, .max = 1000000, .unit = "prompts", .help = "kept, the newest"),
    SAIL_OPT_INT(struct replay, age, .def = 20, .min = 1, .max = 1e12, .unit = "steps", .help = "after which they are forgotten"),
    {0},
};

static sail_code plan(const void *self, int64_t step, sail_plan *p, sail_err *err)
{
    const struct replay *o = self;
    p->replay = o->share;
    p->keep = o->keep;
    p->age = o->age;
    return SAIL_OK;
}

static const sail_strategy ops = {.size = sizeof ops, .plan = plan};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, replay, "a share of the responses are those of earlier steps", "", struct replay, opts, &ops, SAIL_CAP_ONLINE)
