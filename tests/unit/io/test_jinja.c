/* The Jinja interpreter: every recorded rendering and fault, what comes from foreign strings, limits. */
#include "../../golden.h"
#include "io/jinja.h"

static const char *const kinds[] = {"none", "syntax", "undefined", "security", "raised", "runtime", "limit"};

typedef struct outcome {
    sail__jinja_result result;
    sail__jinja_fault fault;
    sail_err err;
    sail_code code;
} outcome;

static outcome render_with(const char *text, size_t len, const sail__jinja_options *o)
{
    outcome r = {0};
    sail__jinja *t;
    r.code = sail__jinja_parse(text, len, "template", &t, &r.fault, &r.err);
    if (!r.code)
        r.code = sail__jinja_render(t, o, &r.result, &r.fault, &r.err);
    sail__jinja_free(t);
    return r;
}

static const char *string_of(const sail_node *row, const char *key)
{
    const sail_node *n = sail__node_get(row, key);
    return n && n->kind == SAIL_NODE_STRING ? n->string.data : "";
}

/* ---- recorded cases ---- */

/* The context of a row: what stands under `variables`, and in real cases beside it. */
static sail_node *context_of(sail_arena *a, const sail_node *row)
{
    static const char *const beside[] = {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"};
    sail_node *map = sail__node_copy(a, sail__node_get(row, "variables"));
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (sail__node_get(row, beside[i]))
            assert_true(sail__node_set(a, map, beside[i], sail__node_get(row, beside[i])));
    if (sail__node_get(row, "messages"))
        assert_true(sail__node_set(a, map, "documents", sail__node_new(a, SAIL_NODE_NULL, "test", 0, 0)));
    return map;
}

static bool spans_agree(const sail_node *want, const sail__spans *got)
{
    if (!want)
        return true;
    if (want->list.n != got->n)
        return false;
    for (size_t i = 0; i < got->n; i++) {
        const sail_node *pair = want->list.items[i];
        if (pair->list.items[0]->integer != (int64_t)got->items[i].begin ||
            pair->list.items[1]->integer != (int64_t)got->items[i].end)
            return false;
    }
    return true;
}

static bool agrees(sail_arena *a, const sail_node *row, const char *text, size_t len, bool say)
{
    static const char *const foreign[] = {"messages", "tools", NULL};
    const sail__jinja_options o = {.variables = context_of(a, row), .now = 1722002709, .foreign = foreign};
    outcome r = render_with(text, len, &o);
    const sail_node *want = sail__node_get(row, "expected"), *error = sail__node_get(row, "error");
    bool ok;
    if (want) {
        ok = !r.code && r.result.text.len == want->string.len &&
             (!want->string.len || memcmp(r.result.text.data, want->string.data, want->string.len) == 0) &&
             spans_agree(sail__node_get(row, "generation"), &r.result.generation);
        if (!ok && say && r.code)
            print_message("  %s: %s\n", string_of(row, "name"), r.err.message);
        else if (!ok && say)
            print_message("  %s: recorded '%.300s'\n  rendered '%.300s'\n", string_of(row, "name"), want->string.data,
                          r.result.text.data ? r.result.text.data : "");
    } else {
        const sail_node *line = sail__node_get(error, "line");
        ok = r.code && strcmp(kinds[r.fault.kind], string_of(error, "kind")) == 0 &&
             (r.fault.kind != SAIL__JINJA_RAISED || strcmp(r.fault.message, string_of(error, "message")) == 0) &&
             (!line || line->kind != SAIL_NODE_INT || line->integer == r.fault.line);
        if (!ok && say)
            print_message("  %s: recorded %s '%s' in line %lld, ours %s '%s' in line %d\n", string_of(row, "name"),
                          string_of(error, "kind"), string_of(error, "message"),
                          line && line->kind == SAIL_NODE_INT ? (long long)line->integer : -1LL, kinds[r.fault.kind],
                          r.code ? r.fault.message : r.result.text.data, r.fault.line);
    }
    sail__jinja_result_free(&r.result);
    return ok;
}

static void compare_file(const char *name, size_t *passed, size_t *total)
{
    char path[4096], *data, *text = NULL;
    size_t size, text_size;
    sail_err err = {0};
    snprintf(path, sizeof path, "%s/text/templates/%s", golden_dir(), name);
    assert_int_equal(sail__file_read(path, 1 << 28, &data, &size, &err), SAIL_OK);
    sail_arena *a = sail__arena_new();
    for (char *line = data, *end; line < data + size && (end = memchr(line, '\n', (size_t)(data + size - line)));
         line = end + 1) {
        sail__arena_reset(a);
        sail_node *row;
        assert_int_equal(sail__json_parse(a, line, (size_t)(end - line), "cases", 0, &row, &err), SAIL_OK);
        const sail_node *own = sail__node_get(row, "template");
        if (!own) {
            snprintf(path, sizeof path, "%s/text/templates/%s", golden_dir(), string_of(row, "template_file"));
            assert_int_equal(sail__file_read(path, 1 << 24, &text, &text_size, &err), SAIL_OK);
        }
        *passed += agrees(a, row, own ? own->string.data : text, own ? own->string.len : text_size, *total - *passed < 10);
        (*total)++;
        sail__free(text);
        text = NULL;
    }
    sail__arena_free(a);
    sail__free(data);
}

static void recorded_real_templates_agree(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    size_t passed = 0, total = 0;
    compare_file("cases.jsonl", &passed, &total);
    print_message("real templates: %zu of %zu\n", passed, total);
    assert_true(total > 0);
    assert_int_equal(passed, total);
}

static void recorded_features_agree(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    size_t passed = 0, total = 0;
    compare_file("micro.jsonl", &passed, &total);
    print_message("features: %zu of %zu\n", passed, total);
    assert_true(total > 0);
    assert_int_equal(passed, total);
}

/* ---- foreign code ---- */

static void runaway_templates_are_stopped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        sail__jinja_kind kind;
    } cases[] = {
        {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", SAIL__JINJA_LIMIT},
        {"{{ range(1000000) | list }}", SAIL__JINJA_LIMIT},
        {"{{ 'x' * 1000000000000 }}", SAIL__JINJA_LIMIT},
        {"{{ [1, 2] * 1000000000000 }}", SAIL__JINJA_LIMIT},
        {"{% set ns = namespace(s='ab') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", SAIL__JINJA_LIMIT},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
         SAIL__JINJA_LIMIT},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l == [ns.l] }}",
         SAIL__JINJA_LIMIT},
        {"{% set ns = namespace(l=[1]) %}{% for i in range(90000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
         SAIL__JINJA_LIMIT},
        {"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", SAIL__JINJA_LIMIT},
        {"{% macro f(n) %}{{ n }}{{ f(n + 1) }}{{ f(n + 2) }}{% endmacro %}{{ f(0) }}", SAIL__JINJA_LIMIT},
        {"{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}", SAIL__JINJA_LIMIT},
        {"{{ 10 ** 100 }}", SAIL__JINJA_LIMIT},
        {"{{ 'a' | center(100000000) }}", SAIL__JINJA_LIMIT},
        {"{{ '%999999999d' % 1 }}", SAIL__JINJA_LIMIT},
        {"{{ '{:999999999}'.format(1) }}", SAIL__JINJA_LIMIT},
        {"{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}", SAIL__JINJA_LIMIT},
        {"{{ [1] | tojson(indent=100000000) }}", SAIL__JINJA_LIMIT},
        {"{{ 1e308 | int }}", SAIL__JINJA_LIMIT},
        {"{{ ''.__class__.__mro__ }}", SAIL__JINJA_SECURITY},
        {"{{ messages.append(1) }}", SAIL__JINJA_SECURITY},
        {"{{ d.update({}) }}", SAIL__JINJA_SECURITY},
    };
    sail_arena *a = sail__arena_new();
    sail_node *variables;
    sail_err err = {0};
    static const char context[] = "{\"messages\": [], \"d\": {}}";
    assert_int_equal(sail__json_parse(a, context, sizeof context - 1, "test", 1, &variables, &err), SAIL_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sail__jinja_options o = {.variables = variables};
        outcome r = render_with(cases[i].text, strlen(cases[i].text), &o);
        if (!r.code || r.fault.kind != cases[i].kind || r.fault.line != 1)
            fail_msg("%s: %s", cases[i].text, r.code ? r.err.message : "was rendered");
        sail__jinja_result_free(&r.result);
    }
    sail__arena_free(a);
}

/* Each limit by itself, in many small portions. */
static void limits_hold_for_the_whole_rendering(void **state)
{
    (void)state;
    static const char loop[] = "{% for i in range(1000) %}{% set x = 'a' * 10000 %}{% endfor %}",
                      print[] = "{% for i in range(1000) %}{{ 'a' * 100 }}{% endfor %}";
    const struct {
        const char *text, *says;
        sail__jinja_options o;
    } cases[] = {{loop, "too much memory", {.memory = 1 << 20}},
                 {loop, NULL, {.memory = 64 << 20}},
                 {loop, "too many steps", {.steps = 1000}},
                 {print, "writes more than", {.output = 50000}},
                 {print, NULL, {.output = 200000}},
                 {"{{ [[[[[1]]]]] }}", "nests more than 4 levels", {.depth = 4}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        outcome r = render_with(cases[i].text, strlen(cases[i].text), &cases[i].o);
        if (cases[i].says ? !r.code || r.fault.kind != SAIL__JINJA_LIMIT || !strstr(r.err.message, cases[i].says)
                          : r.code != SAIL_OK)
            fail_msg("case %zu: %s", i, r.code ? r.err.message : "was rendered");
        sail__jinja_result_free(&r.result);
    }
}

static void runaway_nesting_is_a_syntax_error(void **state)
{
    (void)state;
    static const struct {
        const char *open, *inside, *close, *after;
    } cases[] = {{"(", "1", ")", ""},
                 {"[", "1", "]", ""},
                 {"{1:", "1", "}", ""},
                 {"-", "1", "", ""},
                 {"not ", "1", "", ""},
                 {"x[", "1", "]", ""},
                 {"f(", "1", ")", ""},
                 {"1 if 1 else ", "1", "", ""},
                 {"", "1", "+1", ""},
                 {"", "1", "|abs", ""},
                 {"", "x", ".x", ""},
                 {"", "1", " is defined", ""},
                 {"", "", "{% if 1 %}", "{{ 1"},
                 {"", "", "{% for x in y %}", "{{ 1"},
                 {"", "", "{% macro f() %}", "{{ 1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sail_buf b = {0};
        sail__buf_str(&b, *cases[i].after ? "" : "{{ ");
        for (int k = 0; k < 20000; k++)
            sail__buf_str(&b, cases[i].open);
        sail__buf_str(&b, cases[i].inside);
        for (int k = 0; k < 20000; k++)
            sail__buf_str(&b, cases[i].close);
        sail__buf_str(&b, *cases[i].after ? cases[i].after : "");
        sail__buf_str(&b, " }}");
        const sail__jinja_options o = {0};
        outcome r = render_with(b.data, b.len, &o);
        if (!r.code || r.fault.kind != SAIL__JINJA_SYNTAX)
            fail_msg("%s…%s: %s", cases[i].open, cases[i].close, r.code ? r.err.message : "was rendered");
        sail__jinja_result_free(&r.result);
        sail__buf_free(&b);
    }
}

/* Long but not deep: as many operands and branches as anyone likes. */
static void long_templates_are_rendered(void **state)
{
    (void)state;
    sail_buf b = {0};
    sail__buf_str(&b, "{% if 0 %}");
    for (int k = 0; k < 3000; k++)
        sail__buf_printf(&b, "{%% elif x == %d %%}%d", k, k);
    sail__buf_str(&b, "{% endif %}{{ ''");
    for (int k = 0; k < 300000; k++) /* minutes, where each one more looks at all before it */
        sail__buf_str(&b, " ~ 'a'");
    sail__buf_str(&b, " }}{{ 1 or 0");
    for (int k = 0; k < 3000; k++)
        sail__buf_str(&b, " or 0");
    sail__buf_str(&b, " }}");
    const sail__jinja_options o = {0};
    outcome r = render_with(b.data, b.len, &o);
    if (r.code)
        fail_msg("%s", r.err.message);
    assert_int_equal(r.result.text.len, 300001);
    sail__jinja_result_free(&r.result);
    sail__buf_free(&b);
}

static void bad_text_is_refused(void **state)
{
    (void)state;
    sail__jinja *t;
    sail_err err = {0};
    assert_int_equal(sail__jinja_parse("a\xff", 2, "bad", &t, NULL, &err), SAIL_E_FORMAT);
    assert_non_null(strstr(err.message, "UTF-8"));
    char *large = sail__calloc(5, 1 << 20);
    memset(large, 'a', 5 << 20);
    assert_int_equal(sail__jinja_parse(large, 5 << 20, "large", &t, NULL, &err), SAIL_E_LIMIT);
    sail__free(large);
    assert_null(t);
}

/* Each allocation fails once: an error, no crash (ASan: no leak). */
static void a_lack_of_memory_is_told(void **state)
{
    (void)state;
    static const char text[] =
        "{% macro f(x, y=2) %}{{ x ~ y }}{% endmacro %}{% set ns = namespace(a=[1, 2] | map('string') | list) %}"
        "{% for m in messages if m %}{% generation %}{{ f(m.content | upper) + ns.a[0] }}{% endgeneration %}{% endfor %}"
        "{{ {'a': 'é'.split('x')} | tojson(indent=2) }}{{ '%s' % 1 }}{{ [3, 1] | sort }}";
    sail_arena *a = sail__arena_new();
    sail_node *variables;
    sail_err err = {0};
    static const char *const foreign[] = {"messages", NULL};
    static const char context[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}";
    assert_int_equal(sail__json_parse(a, context, sizeof context - 1, "test", 1, &variables, &err), SAIL_OK);
    const sail__jinja_options o = {.variables = variables, .foreign = foreign};
    long failed = 0;
    for (long k = 1;; k++) {
        sail__alloc_fail_at(k);
        outcome r = render_with(text, sizeof text - 1, &o);
        bool happened = sail__alloc_fail_at(0) == 0;
        sail__jinja_result_free(&r.result);
        if (!happened) {
            assert_int_equal(r.code, SAIL_OK);
            break;
        }
        if (r.code != SAIL_E_NOMEM)
            fail_msg("allocation %ld: %s", k, r.code ? r.err.message : "went unnoticed");
        failed++;
    }
    assert_true(failed > 50);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_features_agree),
        cmocka_unit_test(recorded_real_templates_agree),
        cmocka_unit_test(runaway_templates_are_stopped),
        cmocka_unit_test(limits_hold_for_the_whole_rendering),
        cmocka_unit_test(runaway_nesting_is_a_syntax_error),
        cmocka_unit_test(long_templates_are_rendered),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(a_lack_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
