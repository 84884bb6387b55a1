/* lua_world.h - for tests: a context that reads Lua recipes, a directory for them, and no files of plugins needed. */
#ifndef SAIL_TEST_LUA_WORLD_H
#define SAIL_TEST_LUA_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sail_lua.h"

typedef struct world {
    char dir[64], log[4096];
    sail_ctx *ctx;
    sail_arena *arena;
    sail_problems problems;
    sail__hooks hooks; /* of the last recipe read */
    sail_err err;
} world;

static const uint32_t world_no_ops[16] = {sizeof world_no_ops};
static const sail_plugin world_reader = {.size = sizeof(sail_plugin), .abi_major = SAIL_ABI_MAJOR, .abi_minor = SAIL_ABI_MINOR,
                                         .kind = SAIL_KIND_DATASET, .name = "preference", .doc = "", .source = "", .ops = world_no_ops};

static void world_sink(void *user, sail_log_level level, const char *message)
{
    (void)level;
    world *w = user;
    size_t n = strlen(w->log);
    snprintf(w->log + n, sizeof w->log - n, "%s\n", message);
}

static int setup(void **state)
{
    world *w = calloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/sail-lua-XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    w->ctx = sail_ctx_new();
    sail_ctx_set_log(w->ctx, SAIL_LOG_INFO, world_sink, w);
    sail__lua_install(w->ctx);
    w->arena = sail__arena_new();
    w->problems.arena = w->arena;
    *state = w;
    return sail__plugins_add(w->ctx, &world_reader, "(test)", &w->err) == SAIL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    world *w = *state;
    sail_err err = {0};
    sail__remove_tree(w->dir, &err);
    sail_ctx_free(w->ctx);
    sail__arena_free(w->arena);
    free(w);
    return 0;
}

__attribute__((unused)) static const char *put_bytes(world *w, const char *name, const char *text, size_t n)
{
    const char *path = sail__arena_printf(w->arena, "%s/%s", w->dir, name);
    sail_err err = {0};
    assert_int_equal(sail__make_dirs(sail__path_dir(w->arena, path), &err), SAIL_OK);
    assert_int_equal(sail__file_write(path, text, n, &err), SAIL_OK);
    return path;
}

__attribute__((unused)) static const char *put(world *w, const char *name, const char *text)
{
    return put_bytes(w, name, text, strlen(text));
}

/* The tree of a Lua recipe; NULL: w->err. */
__attribute__((unused)) static sail_node *read_lua(world *w, const char *text)
{
    sail_node *n = NULL;
    w->err = (sail_err){0};
    w->hooks = (sail__hooks){0};
    sail_code c = sail__recipe_read(w->ctx, w->arena, put(w, "r.lua", text), &n, &w->hooks, NULL, &w->err);
    assert_int_equal(c, w->err.code);
    return c == SAIL_OK ? n : NULL;
}

/* The text of `return EXPRESSION`, run in a recipe. */
__attribute__((unused)) static const char *eval(world *w, const char *code)
{
    sail_node *n = read_lua(w, sail__arena_printf(w->arena, "local sail = require 'sail'\nlocal function f(...) %s end\n"
                                                            "local t = table.pack(f())\nlocal s = {}\n"
                                                            "for i = 1, t.n do s[i] = tostring(t[i]) end\n"
                                                            "return { title = table.concat(s, ' ') }", code));
    if (!n)
        fail_msg("%s\n%s", code, w->err.message);
    return sail__node_get(n, "title")->string.data;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
