/* settings.c - what recipes need of the program: a reader of Lua, and where the installed recipes lie. */
#include "recipe_internal.h"

typedef struct settings {
    sail__lua_reader reader;
    char *library;
} settings;

static void settings_free(void *p)
{
    settings *s = p;
    sail__free(s->library);
    sail__free(s);
}

/* NULL: out of memory; what was to be set is then as if it had not been. */
static settings *settings_of(sail_ctx *ctx)
{
    settings *s = sail__ctx_get(ctx, SAIL_CTX_RECIPE);
    if (!s && (s = sail__calloc(1, sizeof *s)))
        sail__ctx_set(ctx, SAIL_CTX_RECIPE, s, settings_free);
    return s;
}

bool sail__recipe_set_lua(sail_ctx *ctx, sail__lua_reader reader)
{
    settings *s = settings_of(ctx);
    if (s)
        s->reader = reader;
    return s != NULL;
}

sail__lua_reader sail__recipe_lua(sail_ctx *ctx)
{
    const settings *s = sail__ctx_get(ctx, SAIL_CTX_RECIPE);
    return s ? s->reader : NULL;
}

bool sail__recipe_set_library(sail_ctx *ctx, const char *dir)
{
    settings *s = settings_of(ctx);
    char *copy = s ? sail__strdup(dir) : NULL;
    if (!copy)
        return false;
    sail__free(s->library);
    s->library = copy;
    return true;
}

char *sail__recipe_find(sail_ctx *ctx, sail_arena *a, const char *dir, const char *name)
{
    const settings *s = sail__ctx_get(ctx, SAIL_CTX_RECIPE);
    char *path = sail__path_join(a, dir, name);
    if (!path || sail__file_exists(path) || !s || !s->library)
        return path;
    char *other = sail__path_join(a, s->library, name);
    return !other || sail__file_exists(other) ? other : path;
}
