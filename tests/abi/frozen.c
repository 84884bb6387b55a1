/* frozen.c - a preference model built against frozen.h and nothing else. */
#include "frozen.h"

struct options {
    double scale, unused;
};

static const old_opt opts[] = {
    {.name = "scale", .type = OLD_TYPE_F64, .offset = offsetof(struct options, scale), .def = 2, .min = 0.5, .max = 8},
    {.name = "unused", .type = OLD_TYPE_F64, .offset = offsetof(struct options, unused), .def = 3},
    {0},
};

static int outcomes(const void *self, int k)
{
    return k == 2 ? 2 : 0;
}

static old_var logprob(const void *self, old_tape *t, int k, const old_var *score, int outcome)
{
    const struct options *o = self;
    return sail_log_sigmoid(t, sail_mul(t, sail_sub(t, score[outcome], score[1 - outcome]), sail_number(t, o->scale)));
}

#ifdef NEWER
#define NAME "newer"
static double strength(const void *self)
{
    return 1;
}
static const old_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob, .strength = strength};
#else
#define NAME "older"
static const old_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
#endif
static const old_plugin description = {.size = sizeof description, .abi_major = 1, .abi_minor = 0, .kind = OLD_KIND_PREFERENCE,
                                       .caps = OLD_CAP_PAIRS, .name = NAME, .doc = "built long ago", .source = "", .opts = opts,
                                       .opt_stride = sizeof *opts, .opts_size = sizeof(struct options), .ops = &ops};

__attribute__((visibility("default"))) const old_plugin *sail_plugin_query(void);
const old_plugin *sail_plugin_query(void)
{
    return &description;
}
