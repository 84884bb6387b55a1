/* choose.c - what `backend: auto` stands for. */
#include <stdio.h>
#include <string.h>

#include "registry.h"

/* The first device of the backend where it is no processor and can be used. */
static bool offers_gpu(sail_ctx *ctx, sail_arena *a, const char *name, sail_device_info *first, sail_err *err)
{
    sail_problems problems = {.arena = a};
    sail_slot slot;
    int n = 0;
    const sail_node *node = sail__node_string(a, name, "auto");
    memset(first, 0, sizeof *first);
    if (!node || !sail__slot_parse(ctx, a, SAIL_KIND_BACKEND, node, "backend", NULL, NULL, &slot, &problems)) {
        sail__problems_fail(&problems, SAIL_E_PLUGIN, err);
        return false;
    }
    if (((const sail_backend *)slot.loaded->ops)->devices(ctx, slot.options, first, 1, &n, err) != SAIL_OK)
        return false;
    if (n > 0 && first->memory > 0 && (!strcmp(first->kind, "gpu") || !strcmp(first->kind, "accelerator")))
        return true;
    sail_fail(err, SAIL_E_NOTFOUND, "%s has %s", name, n == 0 ? "no device" : first->memory > 0 ? "no GPU" : first->note);
    return false;
}

sail_code sail__backend_auto(sail_ctx *ctx, const char **name, char reason[SAIL__AUTO_REASON], sail_err *err)
{
    const sail_loaded *loaded;
    sail_device_info first;
    sail_err why = {0};
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "no memory to choose a backend");
    const bool gpu = offers_gpu(ctx, a, "opencl", &first, &why);
    sail__arena_free(a);
    if (gpu) {
        *name = "opencl";
        snprintf(reason, SAIL__AUTO_REASON, "on %s", first.name);
        return SAIL_OK;
    }
    *name = "cpu";
    snprintf(reason, SAIL__AUTO_REASON, "%s", why.message);
    return sail__plugin_get(ctx, SAIL_KIND_BACKEND, *name, &loaded, err);
}
