/* sampler-hang.c - never answers. */
#include <unistd.h>

#include "common.h"

extern __attribute__((visibility("default"))) const sail_plugin *sail_plugin_query(void);
const sail_plugin *sail_plugin_query(void)
{
    for (;;)
        pause();
}
