/* sampler-good.c - a plugin as it should be, with options of several types. */
#include "common.h"

struct good {
    double heat;
    int64_t count;
    bool on;
    const char *text;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct good, heat, .def = 0.5, .min = 0, .max = 2, .help = "how hot"),
    SAIL_OPT_INT(struct good, count, .def = 7, .min = 1, .max = 1000000, .help = "how many"),
    SAIL_OPT_BOOL(struct good, on, .def = 1, .help = "whether"),
    SAIL_OPT_STR(struct good, text, .def_str = "none", .help = "what"),
    {0},
};

static int answer(void)
{
    return 42;
}

static const struct test_ops ops = {.size = sizeof ops, .answer = answer, .later = answer};
SAIL_PLUGIN(SAIL_KIND_SAMPLER, good, "a good plugin", "nowhere", struct good, opts, &ops, SAIL_CAP_PAIRS)
