/* test_yaml.c - YAML to nodes: what is read, where it was, what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recipe/recipe.h"

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

static sail_node *yaml(sail_arena *a, const char *text)
{
    sail_node *n = NULL;
    sail_err err = {0};
    if (sail__yaml_parse(a, text, strlen(text), "t.yaml", &n, &err) != SAIL_OK)
        fail_msg("%s\n%s", text, err.message);
    return n;
}

static void refused(sail_arena *a, const char *text, size_t len, const char *part)
{
    sail_node *n = NULL;
    sail_err err = {0};
    assert_int_not_equal(sail__yaml_parse(a, text, len, "t.yaml", &n, &err), SAIL_OK);
    assert_null(n);
    if (!strstr(err.message, part))
        fail_msg("%s\nwanted: %s\ngot:    %s", text, part, err.message);
}

static void plain_scalars_follow_the_core_schema(void **state)
{
    static const struct {
        const char *text;
        sail_node_kind kind;
        double value;
    } cases[] = {
        {"1", SAIL_NODE_INT, 1},          {"-7", SAIL_NODE_INT, -7},     {"+3", SAIL_NODE_INT, 3},
        {"007", SAIL_NODE_INT, 7},        {"0x1F", SAIL_NODE_INT, 31},   {"0o17", SAIL_NODE_INT, 15},
        {"1e-5", SAIL_NODE_FLOAT, 1e-5},  {".5", SAIL_NODE_FLOAT, 0.5},  {"1.", SAIL_NODE_FLOAT, 1},
        {"-1.5E+3", SAIL_NODE_FLOAT, -1500}, {"true", SAIL_NODE_BOOL, 1}, {"False", SAIL_NODE_BOOL, 0},
        {"null", SAIL_NODE_NULL, 0},      {"~", SAIL_NODE_NULL, 0},      {"", SAIL_NODE_NULL, 0},
        {".inf", SAIL_NODE_FLOAT, INFINITY}, {"-.INF", SAIL_NODE_FLOAT, -INFINITY},
        {"18446744073709551616", SAIL_NODE_FLOAT, 18446744073709551616.0},
        {"9223372036854775807", SAIL_NODE_INT, 9223372036854775807.0},
    };
    static const char *const strings[] = {"yes", "no", "on", "1e", "e5", "0x", "1_000", "64k", "4Ki", "1.2.3", ".", "-", "+", "nan",
                                          "TRUe", "2024-01-01", "12:30", "a b"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "k: %s\n", cases[i].text);
        const sail_node *n = sail__node_get(yaml(*state, text), "k");
        assert_non_null(n);
        if (n->kind != cases[i].kind)
            fail_msg("%s is kind %d", cases[i].text, n->kind);
        double v = n->kind == SAIL_NODE_INT ? (double)n->integer : n->kind == SAIL_NODE_BOOL ? n->boolean : n->number;
        if (n->kind != SAIL_NODE_NULL && v != cases[i].value)
            fail_msg("%s is %g", cases[i].text, v);
    }
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        char text[64];
        snprintf(text, sizeof text, "[%s]", strings[i]);
        if (!strcmp(strings[i], "-"))
            continue; /* a list mark inside brackets */
        const sail_node *n = yaml(*state, text)->list.items[0];
        if (n->kind != SAIL_NODE_STRING || strcmp(n->string.data, strings[i]))
            fail_msg("%s is kind %d", strings[i], n->kind);
    }
    const sail_node *n = sail__node_get(yaml(*state, "k: '12'"), "k");
    assert_int_equal(n->kind, SAIL_NODE_STRING);
    assert_true(n->string.quoted);
    n = sail__node_get(yaml(*state, "k: \"a\\0b\""), "k");
    assert_int_equal(n->string.len, 3);
    assert_memory_equal(n->string.data, "a\0b", 4);
}

static void values_know_their_places(void **state)
{
    sail_node *n = yaml(*state, "# first\nmodel:\n  path: x\ntrain: {steps: 3,\n  batch: [1, 2]}\n");
    assert_int_equal(sail__node_find(n, "model.path")->line, 3);
    assert_int_equal(sail__node_find(n, "model.path")->column, 9);
    assert_int_equal(sail__node_find(n, "train.batch[1]")->line, 5);
    assert_string_equal(sail__node_find(n, "train.batch")->origin, "t.yaml");
    assert_int_equal(yaml(*state, "")->kind, SAIL_NODE_NULL);
    assert_int_equal(yaml(*state, "# nothing\n")->kind, SAIL_NODE_NULL);
}

static void what_hides_things_is_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"a: &x 1\n", "t.yaml:1:4: an anchor"},
        {"a: *x\n", "t.yaml:1:4: an alias"},
        {"*x : 1\n", "an alias"},
        {"&x a: 1\n", "an anchor"},
        {"a: &x {b: 1}\n", "an anchor"},
        {"a: &x [1]\n", "an anchor"},
        {"a: {<<: {b: 1}}\n", "merge keys"},
        {"a: !!str 1\n", "a tag"},
        {"--- 1\n--- 2\n", "a second document"},
        {"a: 1\nb: 2\na: 3\n", "t.yaml:3:1: `a` is given twice; first in line 1"},
        {"max-new: 1\nmax_new: 2\n", "is given twice"},
        {"? [a]\n: 1\n", "a key must be a name"},
        {"? {a: 1}\n: 1\n", "a key must be a name"},
        {"a: [1, 2\n", "t.yaml:2:1"},
        {"a: 1\n b: 2\n", "t.yaml:2:3"},
        {"a: \"x\n", "t.yaml:2:1"},
        {"\"\": 1\n", "an empty key"},
        {"a:\n\t- 1\n", "t.yaml:2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(*state, cases[i].text, strlen(cases[i].text), cases[i].part);
    refused(*state, "a: \xff\n", 5, "UTF-8");
    refused(*state, "a: b\0c\n", 7, "t.yaml");
}

static void depth_and_width_have_an_end(void **state)
{
    char deep[256];
    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    deep[128] = '\0';
    assert_int_equal(yaml(*state, deep)->kind, SAIL_NODE_LIST);
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    refused(*state, deep, 130, "nested too deeply");
    char *many = malloc(5000 * 10);
    size_t n = 0;
    for (int i = 0; i < 4097; i++)
        n += (size_t)sprintf(many + n, "k%d: 1\n", i);
    refused(*state, many, n, "more than 4096 keys");
    free(many);
}

/* Each character of the first plane and some beyond, written as a string and as a key, and read again. The fuzzer found U+0085,
 * which YAML takes for the end of a line. */
static void every_character_is_read_as_it_was_written(void **state)
{
    sail_arena *a = *state;
    for (uint32_t c = 1; c <= 0x10ffff; c = c < 0x10000 ? c + 1 : c + 0xffff) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        char s[16] = "a b\tx", *p = s + 3;
        if (c < 0x80)
            *p++ = (char)c;
        else if (c < 0x800)
            *p++ = (char)(0xc0 | c >> 6), *p++ = (char)(0x80 | (c & 0x3f));
        else if (c < 0x10000)
            *p++ = (char)(0xe0 | c >> 12), *p++ = (char)(0x80 | (c >> 6 & 0x3f)), *p++ = (char)(0x80 | (c & 0x3f));
        else
            *p++ = (char)(0xf0 | c >> 18), *p++ = (char)(0x80 | (c >> 12 & 0x3f)), *p++ = (char)(0x80 | (c >> 6 & 0x3f)),
            *p++ = (char)(0x80 | (c & 0x3f));
        *p++ = '.', *p = '\0';
        sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "", 0, 0), *again = NULL;
        sail_buf text = {0};
        sail_err err = {0};
        assert_true(sail__node_set(a, map, s, sail__node_string(a, s, "")));
        sail__node_to_yaml(&text, map, 0, false);
        if (sail__yaml_parse(a, text.data, text.len, "t.yaml", &again, &err) != SAIL_OK || !sail__node_equal(map, again))
            fail_msg("U+%04X is not read as it was written: %s%s", (unsigned)c, text.data, err.message);
        sail__buf_free(&text);
        if (c % 512 == 0)
            sail__arena_reset(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain_scalars_follow_the_core_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(values_know_their_places, setup, teardown),
        cmocka_unit_test_setup_teardown(what_hides_things_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_and_width_have_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(every_character_is_read_as_it_was_written, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
