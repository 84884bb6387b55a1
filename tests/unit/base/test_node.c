/* test_node.c - the node tree and JSON. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/node.h"

static int setup(void **state)
{
    *state = sail__arena_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    sail__arena_free(*state);
    return 0;
}

static sail_node *json(sail_arena *a, const char *text)
{
    sail_node *n;
    sail_err err = {0};
    if (sail__json_parse(a, text, strlen(text), "test.json", 0, &n, &err) != SAIL_OK)
        fail_msg("%s: %s", text, err.message);
    return n;
}

static void expect_json(const sail_node *n, const char *want)
{
    sail_buf b = {0};
    sail__node_to_json(&b, n);
    assert_string_equal(b.data, want);
    sail__buf_free(&b);
}

static void json_goes_round(void **state)
{
    static const char *const same[] = {
        "null", "true", "[]", "{}", "-9223372036854775808", "9223372036854775807", "1.0", "0.1", "1e+300", "-0.0",
        "0.30000000000000004", "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f/\xC3\xA9\"", "{\"z\": 1, \"a\": [2, {\"b\": null}], \"m-n\": 3, \"m_n\": 4}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        expect_json(json(*state, same[i]), same[i]);
    sail_node *n = json(*state, "\"a\\u0000b\"");
    assert_int_equal(n->string.len, 3);
    assert_memory_equal(n->string.data, "a\0b", 4);
    assert_true(n->string.quoted);
    expect_json(n, "\"a\\u0000b\"");
    n = json(*state, "\"\\ud83d\\ude00\"");
    assert_string_equal(n->string.data, "\xF0\x9F\x98\x80");
}

static void infinities_and_stray_bytes_are_written_as_json_can(void **state)
{
    sail_node *n = sail__node_new(*state, SAIL_NODE_FLOAT, "", 0, 0);
    n->number = INFINITY;
    expect_json(n, "\"inf\"");
    n->number = -INFINITY;
    expect_json(n, "\"-inf\"");
    n->number = NAN;
    expect_json(n, "\"nan\"");
    expect_json(sail__node_string(*state, "a\xFF\xE2\x82", ""), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
    expect_json(sail__node_new(*state, SAIL_NODE_FUNCTION, "", 0, 0), "\"<function>\"");
}

static void integers_beyond_64_bits_become_numbers(void **state)
{
    sail_node *n = json(*state, "{\"a\": 1000000000000000019884624838656, \"s\": \"-99999999999999999999\", \"b\": 12, "
                                "\"c\": [-9223372036854775809, 9223372036854775807, 18446744073709551616.5]}");
    assert_true(sail__node_get(n, "a")->kind == SAIL_NODE_FLOAT && sail__node_get(n, "a")->number == 1e30);
    assert_string_equal(sail__node_get(n, "s")->string.data, "-99999999999999999999");
    assert_int_equal(sail__node_get(n, "b")->kind, SAIL_NODE_INT);
    assert_true(sail__node_find(n, "c[0]")->number == -0x1p63);
    assert_int_equal(sail__node_find(n, "c[1]")->integer, INT64_MAX);
    assert_true(sail__node_find(n, "c[2]")->number == 0x1p64);
}

static void wrong_json_is_refused_with_its_place(void **state)
{
    static const char *const wrong[] = {
        "", "{", "[1,]", "{\"a\":1,}", "{'a':1}", "01", "nan", "1e999", "\"\xFF\"", "\"\\ud800\"", "[1] 2", "{\"a\":1,\"a\":2}", "tru",
        "\"tab\there\"",
    };
    sail_node *n;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sail_err err = {0};
        sail_code code = sail__json_parse(*state, wrong[i], strlen(wrong[i]), "rows.jsonl", 17, &n, &err);
        if (code != SAIL_E_PARSE || strncmp(err.message, "rows.jsonl:17: ", 15) != 0)
            fail_msg("%s: %d %s", wrong[i], code, err.message);
        assert_null(n);
    }
    sail_err err = {0};
    assert_int_equal(sail__json_parse(*state, "{\n\"a\": 1,\n\"a\": 2}", 17, "x.json", 0, &n, &err), SAIL_E_PARSE);
    assert_non_null(strstr(err.message, "x.json:3: "));
    assert_non_null(strstr(err.message, "duplicate"));
}

static void depth_is_limited(void **state)
{
    sail_node *n;
    sail_err err = {0};
    char text[2 * 600 + 1];
    for (int deep = 512; deep <= 600; deep += 88) {
        memset(text, '[', (size_t)deep);
        memset(text + deep, ']', (size_t)deep);
        sail_code code = sail__json_parse(*state, text, 2 * (size_t)deep, "x", 0, &n, &err);
        assert_int_equal(code, deep == 512 ? SAIL_OK : SAIL_E_LIMIT);
    }
    static char deeper[100000];
    memset(deeper, '[', sizeof deeper);
    assert_int_not_equal(sail__json_parse(*state, deeper, sizeof deeper, "x", 0, &n, &err), SAIL_OK);
}

static void file_is_read(void **state)
{
    sail_node *n;
    sail_err err = {0};
    char path[] = "/tmp/sail-node-XXXXXX";
    close(mkstemp(path));
    assert_int_equal(sail__file_write(path, "{\"a\": tru}", 10, &err), SAIL_OK);
    assert_int_equal(sail__json_read(*state, path, 1000, &n, &err), SAIL_E_PARSE);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(sail__file_write(path, "{\"a\": true}", 11, &err), SAIL_OK);
    assert_int_equal(sail__json_read(*state, path, 1000, &n, &err), SAIL_OK);
    assert_true(sail__node_get(n, "a")->boolean);
    assert_string_equal(n->origin, path);
    unlink(path);
    assert_int_equal(sail__json_read(*state, path, 1000, &n, &err), SAIL_E_NOTFOUND);
}

static void keys_are_found_by_path(void **state)
{
    sail_node *n = json(*state, "{\"method\": {\"routes\": {\"dpp\": {\"weight\": 0.3}}}, \"stages\": [{\"kind\": \"sft\"}, 5], \"a-b\": 1}");
    assert_true(sail__node_find(n, "method.routes.dpp.weight")->number == 0.3);
    assert_string_equal(sail__node_find(n, "stages[0].kind")->string.data, "sft");
    assert_int_equal(sail__node_find(n, "stages[1]")->integer, 5);
    assert_int_equal(sail__node_find(n, "a_b")->integer, 1);
    static const char *const absent[] = {"x", "method.x", "stages[2]", "stages[]", "stages[x]", "stages.0", "stages[0", ".method", "method..routes", "method."};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_null(sail__node_find(n, absent[i]));
    sail_node *exact = json(*state, "{\"a-b\": 1, \"a_b\": 2}");
    assert_int_equal(sail__node_get(exact, "a_b")->integer, 2);
}

static void values_are_put_by_path(void **state)
{
    sail_arena *a = *state;
    sail_node *n = json(a, "{\"a\": 1, \"l\": [1]}"), *v = sail__node_string(a, "x", "command line");
    sail_err err = {0};
    assert_int_equal(sail__node_put(a, n, "b.c.d", v, &err), SAIL_OK);
    assert_int_equal(sail__node_put(a, n, "l[0]", v, &err), SAIL_OK);
    assert_int_equal(sail__node_put(a, n, "l[1].k", v, &err), SAIL_OK);
    assert_int_equal(sail__node_put(a, n, "new[0]", v, &err), SAIL_OK);
    assert_int_equal(sail__node_put(a, n, "a", v, &err), SAIL_OK);
    expect_json(n, "{\"a\": \"x\", \"l\": [\"x\", {\"k\": \"x\"}], \"b\": {\"c\": {\"d\": \"x\"}}, \"new\": [\"x\"]}");
    assert_int_equal(sail__node_put(a, n, "a.b", v, &err), SAIL_E_OPTION);
    assert_string_equal(err.message, "a.b: cannot be set: what is above it is a string, a map is wanted");
    assert_int_equal(sail__node_put(a, n, "l[7]", v, &err), SAIL_E_OPTION);
    assert_int_equal(sail__node_put(a, n, "l.x", v, &err), SAIL_E_OPTION);
    assert_int_equal(sail__node_put(a, n, "", v, &err), SAIL_E_ARG);
    assert_int_equal(sail__node_put(a, n, "a..b", v, &err), SAIL_E_ARG);
}

static void maps_merge_deeply(void **state)
{
    sail_arena *a = *state;
    sail_node *base = json(a, "{\"m\": {\"x\": 1, \"y-z\": 2}, \"l\": [1, 2], \"gone\": 1, \"s\": 1}");
    sail_node *over = json(a, "{\"m\": {\"y_z\": 3, \"w\": {\"v\": 4}}, \"l\": [9], \"gone\": null, \"s\": {\"t\": 1}, \"never\": null}");
    sail_node *copy = sail__node_copy(a, over);
    assert_true(sail__node_merge(a, base, over));
    expect_json(base, "{\"m\": {\"x\": 1, \"y-z\": 3, \"w\": {\"v\": 4}}, \"l\": [9], \"s\": {\"t\": 1}}");
    assert_int_equal(sail__node_put(a, base, "m.w.v", sail__node_string(a, "changed", ""), NULL), SAIL_OK);
    assert_true(sail__node_equal(over, copy)); /* shares nothing with the base */
    assert_false(sail__node_merge(a, base, sail__node_find(over, "l")));
}

static void equality_is_of_values(void **state)
{
    sail_arena *a = *state;
    assert_true(sail__node_equal(json(a, "{\"a\": [1, 2.5, \"x\"], \"b\": null}"), json(a, "{\"b\": null, \"a\": [1, 2.5, \"x\"]}")));
    assert_false(sail__node_equal(json(a, "[1]"), json(a, "[1.0]")));
    assert_false(sail__node_equal(json(a, "{\"a\": 1}"), json(a, "{\"b\": 1}")));
    assert_false(sail__node_equal(json(a, "\"a\\u0000b\""), json(a, "\"a\\u0000c\"")));
    assert_false(sail__node_equal(json(a, "[1]"), json(a, "[1, 2]")));
}

static void typed_access_says_what_is_wrong(void **state)
{
    sail_arena *a = *state;
    sail_node *n = sail__node_string(a, "x", "recipe.yaml");
    sail_err err = {0};
    double d;
    int64_t i;
    bool b;
    const char *s;
    n->line = 12;
    assert_int_equal(sail__node_as_double(n, "train.lr", &d, &err), SAIL_E_OPTION);
    assert_string_equal(err.message, "recipe.yaml:12: train.lr is a string, a number is wanted");
    assert_string_equal(sail__node_where(a, n), "recipe.yaml:12");
    assert_int_equal(sail__node_as_int(json(a, "3.0"), "k", &i, &err), SAIL_OK);
    assert_int_equal(i, 3);
    assert_int_equal(sail__node_as_int(json(a, "3.5"), "k", &i, &err), SAIL_E_OPTION);
    assert_int_equal(sail__node_as_int(json(a, "1e300"), "k", &i, &err), SAIL_E_OPTION);
    assert_int_equal(sail__node_as_double(json(a, "3"), "k", &d, &err), SAIL_OK);
    assert_true(d == 3.0);
    assert_int_equal(sail__node_as_bool(json(a, "0"), "k", &b, &err), SAIL_E_OPTION);
    assert_int_equal(sail__node_as_string(json(a, "[0]"), "k", &s, &err), SAIL_E_OPTION);
    assert_non_null(strstr(err.message, "k is a list"));
}

static void yaml_is_written_for_people(void **state)
{
    sail_arena *a = *state;
    sail_node *n = json(a, "{\"model\": {\"path\": \"models/x\", \"adapter\": null}, \"lr\": 5e-06, \"stages\": [{\"kind\": \"sft\", "
                           "\"m\": [1, 2]}, \"no\"], \"e\": {}, \"t\": \"12\", \"u\": \"a: b\", \"off\": true}");
    sail_buf b = {0};
    sail__node_to_yaml(&b, n, 0, false);
    assert_string_equal(b.data, "model:\n  path: models/x\n  adapter: null\nlr: 5.0e-06\nstages:\n  - kind: sft\n    m: [1, 2]\n"
                                "  - \"no\"\ne: {}\nt: \"12\"\nu: \"a: b\"\n\"off\": true\n");
    sail__buf_free(&b);
    sail_node *v = sail__node_new(a, SAIL_NODE_FLOAT, "recipe.yaml", 3, 1);
    v->number = INFINITY;
    sail__node_to_yaml(&b, v, 2, true);
    assert_string_equal(b.data, "  .inf  # recipe.yaml:3\n");
    sail__buf_free(&b);
}

/* Every allocation fails once: no crash, no leak (under ASan), and never a result that is there but wrong. */
static sail_code build_all(const char *text, size_t n)
{
    sail_err err = {0};
    sail_code code = SAIL_E_NOMEM;
    sail_node *parsed = NULL;
    sail_buf out = {0};
    sail_arena *a = sail__arena_new();
    if (a)
        code = sail__json_parse(a, text, n, "x", 0, &parsed, &err);
    if (code == SAIL_OK) {
        sail_node *copy = sail__node_copy(a, parsed), *value = sail__node_string(a, "v", "x");
        if (!copy || !value || !sail__node_merge(a, copy, parsed))
            code = SAIL_E_NOMEM;
        if (code == SAIL_OK)
            code = sail__node_put(a, copy, "deep.er[0].still", value, &err);
        if (code == SAIL_OK)
            sail__node_to_json(&out, copy);
        if (out.oom)
            code = SAIL_E_NOMEM;
        if (code == SAIL_OK)
            assert_true(strstr(out.data, "still") && strstr(out.data, "value 399"));
    }
    sail__buf_free(&out);
    sail__arena_free(a);
    return code;
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    sail_buf text = {0};
    sail__buf_str(&text, "{\"big\": 99999999999999999999, \"list\": [");
    for (int i = 0; i < 400; i++)
        sail__buf_printf(&text, "%s{\"key%d\": \"value %d\"}", i ? ", " : "", i, i);
    sail__buf_str(&text, "]}");
    int failed = 0;
    bool untouched = false;
    for (long k = 1; !untouched && k < 100000; k = k < 200 ? k + 1 : k + 37) {
        sail__alloc_fail_at(k);
        sail_code code = build_all(text.data, text.len);
        untouched = sail__alloc_fail_at(0) > 0; /* there are fewer allocations than k */
        if (untouched)
            assert_int_equal(code, SAIL_OK);
        failed += code == SAIL_E_NOMEM;
        if (code != SAIL_OK && code != SAIL_E_NOMEM)
            fail_msg("allocation %ld: code %d", k, code);
    }
    sail__buf_free(&text);
    print_message("%d failures survived\n", failed);
    assert_true(untouched);
    assert_true(failed > 50);
}

#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(json_goes_round),
        WITH_ARENA(infinities_and_stray_bytes_are_written_as_json_can),
        WITH_ARENA(integers_beyond_64_bits_become_numbers),
        WITH_ARENA(wrong_json_is_refused_with_its_place),
        WITH_ARENA(depth_is_limited),
        WITH_ARENA(file_is_read),
        WITH_ARENA(keys_are_found_by_path),
        WITH_ARENA(values_are_put_by_path),
        WITH_ARENA(maps_merge_deeply),
        WITH_ARENA(equality_is_of_values),
        WITH_ARENA(typed_access_says_what_is_wrong),
        WITH_ARENA(yaml_is_written_for_people),
        cmocka_unit_test(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
