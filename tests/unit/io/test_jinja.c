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
        if (pair->list.items[0]->integer != (int64_t)got->items[i].begin || pair->list.items[1]->integer != (int64_t)got->items[i].end)
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
                          string_of(error, "kind"), string_of(error, "message"), line && line->kind == SAIL_NODE_INT ? (long long)line->integer : -1LL,
                          kinds[r.fault.kind], r.code ? r.fault.message : r.result.text.data, r.fault.line);
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
    for (char *line = data, *end; line < data + size && (end = memchr(line, '\n', (size_t)(data + size - line))); line = end + 1) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_features_agree),
        cmocka_unit_test(recorded_real_templates_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
