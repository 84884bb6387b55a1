/* device.c - a backend opened by name for tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "sail/rng.h"

static sail_node *option_value(sail_arena *a, const char *text)
{
    char *end;
    const long long i = strtoll(text, &end, 10);
    if (*text && !*end) {
        sail_node *n = sail__node_new(a, SAIL_NODE_INT, "command line", 0, 0);
        n->integer = i;
        return n;
    }
    if (!strcmp(text, "true") || !strcmp(text, "false")) {
        sail_node *n = sail__node_new(a, SAIL_NODE_BOOL, "command line", 0, 0);
        n->boolean = *text == 't';
        return n;
    }
    return sail__node_string(a, text, "command line");
}

bool device_open(device *d, const char *backend, const char *which, const char *const *options, int n_options)
{
    sail_err err = {0};
    memset(d, 0, sizeof *d);
    d->ctx = sail_ctx_new();
    d->arena = sail__arena_new();
    sail_problems problems = {.arena = d->arena};
    sail_node *map = sail__node_new(d->arena, SAIL_NODE_MAP, "command line", 0, 0);
    sail__node_set(d->arena, map, "kind", sail__node_string(d->arena, backend, "command line"));
    for (int i = 0; i < n_options; i++) {
        const char *eq = strchr(options[i], '=');
        char *key = sail__arena_strndup(d->arena, options[i], eq ? (size_t)(eq - options[i]) : strlen(options[i]));
        sail__node_set(d->arena, map, key, option_value(d->arena, eq ? eq + 1 : "true"));
    }
    if (!sail__slot_parse(d->ctx, d->arena, SAIL_KIND_BACKEND, map, "backend", NULL, NULL, &d->slot, &problems)) {
        for (size_t i = 0; i < problems.n; i++)
            fprintf(stderr, "%s: %s: %s\n", problems.items[i].where, problems.items[i].path, problems.items[i].message);
        return false;
    }
    if ((d->code = sail__runtime_open(d->ctx, &d->slot, which, &d->rt, &err)) != SAIL_OK) {
        fprintf(stderr, "%s: %s\n", backend, err.message);
        return false;
    }
    return true;
}

void device_close(device *d)
{
    sail__runtime_close(d->rt);
    sail__arena_free(d->arena);
    sail_ctx_free(d->ctx);
    memset(d, 0, sizeof *d);
}

double noise(uint64_t seed, uint64_t i)
{
    return 2 * sail_rng_uniform(seed, SAIL_RNG_USER, i, 0, 0) - 1;
}
