/* sampler-othername.c - calls itself otherwise than its file. */
#include "common.h"

static int answer(void)
{
    return 1;
}

static const struct test_ops ops = {.size = sizeof ops, .answer = answer};
static const sail_plugin description = {
    .size = sizeof description, .abi_major = SAIL_ABI_MAJOR, .abi_minor = SAIL_ABI_MINOR, .kind = SAIL_KIND_SAMPLER,
    .name = "somebody", .doc = "", .source = "", .ops = &ops,
};

extern __attribute__((visibility("default"))) const sail_plugin *sail_plugin_query(void);
const sail_plugin *sail_plugin_query(void)
{
    return &description;
}
