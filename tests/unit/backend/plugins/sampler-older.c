/* sampler-older.c - as if compiled against an earlier header: its option rows and its table of functions are shorter,
 * and what lies behind them in memory is not zero. */
#include "common.h"

struct old_opt {
    const char *name;
    sail_opt_type type;
    uint32_t flags;
    size_t offset;
    double def, min, max;
};

struct older {
    double heat;
};

static const struct old_opt opts[] = {
    {.name = "heat", .type = SAIL_OPT_TYPE_F64, .def = 0.25, .max = 1},
    {0},
};

static int answer(void)
{
    return 3;
}

static const struct {
    uint32_t size;
    int (*answer)(void);
    uintptr_t behind[8];
} ops = {offsetof(struct test_ops, later), answer, {1, 2, 3, 4, 5, 6, 7, 8}};

static const sail_plugin description = {
    .size = sizeof description, .abi_major = SAIL_ABI_MAJOR, .kind = SAIL_KIND_SAMPLER, .name = "older", .doc = "an older one",
    .opts = (const sail_opt *)opts, .opt_stride = sizeof(struct old_opt), .opts_size = sizeof(struct older), .ops = &ops,
};

extern __attribute__((visibility("default"))) const sail_plugin *sail_plugin_query(void);
const sail_plugin *sail_plugin_query(void)
{
    return &description;
}
