/* offline.c - every pair from the data set, with its label. */
#include <sail/plugin.h>
#include <sail/strategy.h>

static int routes(const void *self, int64_t step, sail_route *out)
{
    out[0] = (sail_route){"offline", 1, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    return 1;
}

static const sail_strategy ops = {.size = sizeof ops, .routes = routes};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_STRATEGY, offline, "responses and labels of the data set", "", &ops, 0)
