/* fuzz_yaml.c - any text as a recipe: an error with a place, or a tree that is the same after being written and read
 * again; and every recipe made of it is refused with a problem or accepted. */
#include <stdlib.h>
#include <string.h>

#include "recipe/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quiet(void *user, sail_log_level level, const char *message) {}

static void as_recipe(const sail_node *root, sail_arena *a)
{
    sail_err err = {0};
    sail_problems problems = {.arena = a};
    sail__recipe *r = NULL;
    sail_ctx *ctx = sail_ctx_new();
    if (!ctx)
        return;
    sail_ctx_set_log(ctx, SAIL_LOG_ERROR, quiet, NULL);
    if (sail__recipe_from_node(ctx, root, &problems, &r, &err) != SAIL_OK && !err.message[0])
        abort();
    sail__recipe_free(r);
    sail_ctx_free(ctx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sail_err err = {0};
    sail_node *n, *again;
    sail_arena *a = sail__arena_new();
    sail_buf text = {0};
    if (sail__yaml_parse(a, (const char *)data, size, "fuzz.yaml", &n, &err) != SAIL_OK) {
        if (err.code == SAIL_OK || !strstr(err.message, "fuzz.yaml"))
            abort();
    } else {
        sail__node_to_yaml(&text, n, 0, false);
        if (sail__yaml_parse(a, text.data ? text.data : "", text.len, "again.yaml", &again, &err) != SAIL_OK)
            abort();
        if (!sail__node_equal(n, again))
            abort();
        if (n->kind == SAIL_NODE_MAP)
            as_recipe(n, a);
    }
    sail__buf_free(&text);
    sail__arena_free(a);
    return 0;
}
