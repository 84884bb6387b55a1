/* plugin.h - for tests: a plugin of the build tree and its options, without a context or registry. Header only. */
#ifndef SAIL_TEST_PLUGIN_H
#define SAIL_TEST_PLUGIN_H

#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/node.h"
#include "sail/plugin.h"

#define TEST_UNUSED __attribute__((unused))

TEST_UNUSED static const sail_plugin *test_plugin(const char *kind, const char *name)
{
    char path[4096];
    const char *build = getenv("SAIL_BUILD");
    snprintf(path, sizeof path, "%s/plugins/%s/%s.so", build ? build : "build", kind, name);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so)
        fail_msg("%s", dlerror());
    sail_plugin_query_fn *query = NULL;
    *(void **)&query = dlsym(so, "sail_plugin_query");
    assert_non_null(query);
    assert_string_equal(query()->name, name);
    return query();
}

/* The plugin's option struct from a map (NULL: defaults). A wrong option fails the test. */
TEST_UNUSED static const void *test_options(sail_arena *a, const sail_plugin *p, const sail_node *map)
{
    if (!p->opts)
        return NULL;
    void *out = sail__arena_alloc(a, p->opts_size);
    sail_problems problems = {.arena = a};
    if (!sail__opt_parse(p->opts, map, p->name, NULL, NULL, NULL, out, &problems))
        fail_msg("%s: %s: %s", p->name, problems.items[0].path, problems.items[0].message);
    return out;
}

/* A map from "key", value pairs, ended by NULL: test_map(a, "nu", "1.5", NULL). Values are JSON. */
TEST_UNUSED static sail_node *test_map(sail_arena *a, ...)
{
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "test", 0, 0);
    va_list ap;
    va_start(ap, a);
    for (const char *key; (key = va_arg(ap, const char *));) {
        sail_err err = {0};
        sail_node *value;
        const char *text = va_arg(ap, const char *);
        if (sail__json_parse(a, text, strlen(text), "test", 0, &value, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        sail__node_set(a, map, key, value);
    }
    va_end(ap);
    return map;
}

/* A number of a recorded file, with its "inf" and "-inf". */
TEST_UNUSED static double test_number(const sail_node *n)
{
    assert_non_null(n);
    if (n->kind == SAIL_NODE_INT)
        return (double)n->integer;
    if (n->kind == SAIL_NODE_FLOAT)
        return n->number;
    if (n->kind == SAIL_NODE_STRING)
        return strtod(n->string.data, NULL);
    if (n->kind == SAIL_NODE_BOOL)
        return n->boolean;
    fail_msg("line %d: a number is missing", n->line);
    return NAN;
}

/* All numbers of nested lists, in order. */
TEST_UNUSED static size_t test_flatten(const sail_node *n, double *out, size_t most)
{
    assert_non_null(n);
    if (n->kind != SAIL_NODE_LIST) {
        assert_true(most > 0);
        *out = test_number(n);
        return 1;
    }
    size_t used = 0;
    for (size_t i = 0; i < n->list.n; i++)
        used += test_flatten(n->list.items[i], out + used, most - used);
    return used;
}

/* The largest absolute value of nested lists of numbers: of recorded derivatives, one list of pairs a slot, each a list of tokens or
 * one number for all tokens. */
TEST_UNUSED static double test_largest(const sail_node *n)
{
    double most = 0;
    if (n->kind != SAIL_NODE_LIST)
        return fabs(test_number(n));
    for (size_t i = 0; i < n->list.n; i++)
        most = fmax(most, test_largest(n->list.items[i]));
    return most;
}

TEST_UNUSED static const char *test_string(const sail_node *n)
{
    assert_non_null(n);
    assert_int_equal(n->kind, SAIL_NODE_STRING);
    return n->string.data;
}

/* |a - b| as a share of tol max(scale, |a|, |b|): at most 1 is right. Equal infinities are 0 apart. */
TEST_UNUSED static double test_deviation(double a, double b, double tol, double scale)
{
    if (a == b)
        return 0;
    double d = fabs(a - b) / (tol * fmax(scale, fmax(fabs(a), fabs(b))));
    return isnan(d) ? INFINITY : d;
}

#endif
