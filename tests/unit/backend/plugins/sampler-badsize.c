/* sampler-badsize.c - says that its description is four bytes. */
#include "common.h"

static int answer(void)
{
    return 1;
}

static const struct test_ops ops = {.size = sizeof ops, .answer = answer};
static const sail_plugin description = {
    .size = 4, .abi_major = SAIL_ABI_MAJOR, .abi_minor = SAIL_ABI_MINOR, .kind = SAIL_KIND_SAMPLER,
    .name = "badsize", .doc = "", .source = "", .ops = &ops,
};

extern __attribute__((visibility("default"))) const sail_plugin *sail_plugin_query(void);
const sail_plugin *sail_plugin_query(void)
{
    return &description;
}
