/* sampler-noops.c - has no table of functions. */
#include "common.h"

static const sail_plugin description = {
    .size = sizeof description, .abi_major = SAIL_ABI_MAJOR, .abi_minor = SAIL_ABI_MINOR, .kind = SAIL_KIND_SAMPLER,
    .name = "noops", .doc = "", .source = "", .ops = NULL,
};

extern __attribute__((visibility("default"))) const sail_plugin *sail_plugin_query(void);
const sail_plugin *sail_plugin_query(void)
{
    return &description;
}
