/* test_report.c - reports hold every metric of every step, and nothing a run says gets out of its quotes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/node.h"
#include "io/report.h"

#define HOSTILE "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\"&"

typedef struct fixture {
    char dir[64], runs[2][96];
    const char *paths[2];
    sail_arena *arena;
    sail_buf out;
    sail_err err;
} fixture;

static void ok(fixture *f, sail_code code)
{
    if (code != SAIL_OK)
        fail_msg("%s", f->err.message);
}

static void fill(fixture *f, sail__store *s, int run)
{
    static const int32_t ids[] = {3, 4};
    static const float logps[] = {-1, -2}, ref[] = {-1.5f, -1};
    static const uint32_t ends[] = {2, sizeof HOSTILE - 1};
    for (int64_t i = 0; i < 5; i++) {
        const char *names[] = {"loss", "rewards/chosen", "rewards/rejected", HOSTILE, "eval_win_rate"};
        double values[] = {i == 2 ? (double)NAN : 1.0 / (double)(i + 1 + run), (double)i, -(double)i, 1, i == 3 ? (double)INFINITY : 0.5};
        ok(f, sail__store_add_metrics(s, "align", i, names, values, 5, &f->err));
    }
    sail__sample_response r[] = {{ids, 2, HOSTILE, logps, HOSTILE, 0.5, ref, ends}, {ids, 2, "", NULL, "data", NAN}};
    sail__sample p = {.stage = "align", .step = 4, .kind = "eval", .route = HOSTILE, .prompt_ids = ids, .n_prompt = 2, .prompt = HOSTILE,
                      .outcome = 0, .k = 2, .responses = r};
    ok(f, sail__store_add_samples(s, &p, 1, &f->err));
    ok(f, sail__store_add_event(s, "align", 3, "guard", HOSTILE "\033[2J\a", &f->err));
    ok(f, sail__store_set_info(s, "title", HOSTILE, &f->err));
    ok(f, sail__store_set_info(s, "version", HOSTILE, &f->err));
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    *state = f;
    strcpy(f->dir, "/tmp/sail-report-XXXXXX");
    f->arena = sail__arena_new();
    if (!mkdtemp(f->dir))
        return -1;
    for (int i = 0; i < 2; i++) {
        char path[128];
        sail__store *s;
        snprintf(f->runs[i], sizeof f->runs[i], "%s/run <%d>", f->dir, i);
        f->paths[i] = f->runs[i];
        ok(f, sail__make_dirs(f->runs[i], &f->err));
        snprintf(path, sizeof path, "%s/run.db", f->runs[i]);
        ok(f, sail__store_open(path, SAIL__STORE_CREATE, &s, &f->err));
        fill(f, s, i);
        sail__store_close(s);
        snprintf(path, sizeof path, "%s/recipe.resolved.yaml", f->runs[i]);
        ok(f, sail__file_write(path, HOSTILE, strlen(HOSTILE), &f->err));
    }
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    sail__buf_free(&f->out);
    sail__arena_free(f->arena);
    sail__remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

static void make(fixture *f, sail__report_format format, size_t n)
{
    sail__report_options o = {.format = format};
    f->out.len = 0;
    ok(f, sail__report(f->paths, n, &o, &f->out, &f->err));
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static void json_holds_every_value(void **state)
{
    fixture *f = *state;
    sail_node *root;
    make(f, SAIL__REPORT_JSON, 2);
    ok(f, sail__json_parse(f->arena, f->out.data, f->out.len, "report", 1, &root, &f->err));
    const sail_node *loss = sail__node_find(root, "runs[1].metrics.align.loss");
    assert_non_null(loss);
    assert_int_equal(loss->list.n, 5);
    for (size_t i = 0; i < 5; i++) {
        const sail_node *point = loss->list.items[i];
        assert_int_equal(point->list.items[0]->integer, i);
        double v = 0;
        if (i == 2)
            assert_string_equal(point->list.items[1]->string.data, "nan");
        else {
            ok(f, sail__node_as_double(point->list.items[1], "loss", &v, &f->err));
            assert_true(v == 1.0 / (double)(i + 2));
        }
    }
    const sail_node *text = sail__node_find(root, "runs[0].samples[0].responses[0].text");
    assert_string_equal(text->string.data, HOSTILE);
    assert_string_equal(sail__node_find(root, "runs[0].metrics.align.eval_win_rate[3][1]")->string.data, "inf");
}

static void csv_has_a_row_a_value(void **state)
{
    fixture *f = *state;
    make(f, SAIL__REPORT_CSV, 1);
    assert_int_equal(count(f->out.data, "\n"), 1 + 25);
    assert_non_null(strstr(f->out.data, "run <0>,align,4,loss,0.20000000000000001\n"));
    assert_int_equal(count(f->out.data, "onerror='alert(2)'>\"\"&\","), 5); /* quotes doubled, in quotes */
}

static void html_lets_nothing_out(void **state)
{
    fixture *f = *state;
    for (size_t n = 1; n <= 2; n++) {
        make(f, SAIL__REPORT_HTML, n);
        assert_int_equal(count(f->out.data, "<script"), 2); /* the data and the page's own */
        assert_int_equal(count(f->out.data, "</script"), 2);
        assert_int_equal(count(f->out.data, "<img"), 0);
        assert_int_equal(count(f->out.data, "title='+0.50' style='--c:var(--good);--w:8%'"), n);
        assert_int_equal(count(f->out.data, "title='-1.00' style='--c:var(--bad);--w:15%'"), n);
        assert_int_equal(count(f->out.data, "http"), count(f->out.data, "http-equiv") + count(f->out.data, "http://www.w3.org/2000/svg"));
        assert_non_null(strstr(f->out.data, "&lt;/script&gt;&lt;script&gt;alert(1)"));
        const char *begin = strstr(f->out.data, "id='data'>");
        assert_non_null(begin);
        begin += strlen("id='data'>");
        sail_node *data;
        ok(f, sail__json_parse(f->arena, begin, (size_t)(strstr(begin, "</script>") - begin), "page", 1, &data, &f->err));
        assert_int_equal(sail__node_find(data, "runs")->list.n, n);
        const sail_node *charts = sail__node_find(data, "charts");
        assert_int_equal(charts->list.n, 4); /* loss, chosen with rejected, the hostile one, the win rate */
        const sail_node *line = sail__node_find(data, "charts[0].lines[0]");
        assert_int_equal(sail__node_get(line, "y")->list.items[2]->kind, SAIL_NODE_NULL);
    }
}

static void tokens_are_coloured_whole_and_only_where_their_places_are_known(void **state)
{
    fixture *f = *state;
    static const int32_t ids[] = {3, 4};
    static const float logps[] = {-1, -2}, ref[] = {-1.5f, -1};
    char text[3002], path[128];
    memset(text, 'a', 3000);
    strcpy(text + 3000, "b");
    const uint32_t ends[][2] = {{3000, 3001}, {5000, 3001}};
    for (int i = 0; i < 2; i++) {
        sail__store *s;
        sail__sample_response r = {ids, 2, text, logps, "policy", NAN, ref, ends[i]};
        sail__sample p = {.stage = "align", .step = 9, .kind = "eval", .route = "", .prompt_ids = ids, .n_prompt = 2, .prompt = "long", .outcome = -1,
                          .k = 1, .responses = &r};
        snprintf(path, sizeof path, "%s/run.db", f->runs[0]);
        ok(f, sail__store_open(path, SAIL__STORE_WRITE, &s, &f->err));
        ok(f, sail__store_add_samples(s, &p, 1, &f->err));
        sail__store_close(s);
        make(f, SAIL__REPORT_HTML, 1);
        const char *at = strstr(f->out.data, "<p class='prompt'>long</p>");
        assert_non_null(at);
        const size_t coloured = count(at, "<i class='t'");
        assert_int_equal(coloured, i == 0 ? 2 : 0);
        at = strstr(at, "aaa");
        assert_int_equal(strspn(at, "a"), 3000);
    }
}

static void recipes_are_compared_key_by_key(void **state)
{
    fixture *f = *state;
    static const char *const recipes[] = {
        "name: one  # a\nruns: \"/x\"  # default\nstages:\n  - name: sft  # default\n    train:\n      lr: 0.1  # a.yaml:3\n      note: \"x  # y\"  # a\n"
        "  - name: align  # default\n    routes:\n      dpp: 0.3  # a\n    stop:\n      - end  # a\n",
        "name: two  # b\nruns: \"/y\"  # default\nstages:\n  - name: sft  # default\n    train:\n      lr: 0.2  # b.yaml:9\n      note: \"x  # y\"  # b\n"
        "  - name: align  # default\n    routes:\n      ddp: <0.4>  # b\n    stop:\n      - end  # b\n      - more  # b\n",
    };
    for (int i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/recipe.resolved.yaml", f->runs[i]);
        ok(f, sail__file_write(path, recipes[i], strlen(recipes[i]), &f->err));
    }
    make(f, SAIL__REPORT_HTML, 2);
    const char *at = strstr(f->out.data, "What is different"), *end = at ? strstr(at, "</section>") : NULL;
    assert_non_null(end);
    char *table = sail__arena_strndup(f->arena, at, (size_t)(end - at));
    assert_int_equal(count(table, "<tr>"), 1 + 4);
    assert_non_null(strstr(table, "stages[sft].train.lr</th><td class='mono'>0.1</td><td class='mono'>0.2</td>"));
    assert_non_null(strstr(table, "stages[align].routes.dpp</th><td class='mono'>0.3</td><td class='soft'>"));
    assert_non_null(strstr(table, "<td class='mono'>&lt;0.4&gt;</td>"));
    assert_non_null(strstr(table, "stages[align].stop[1]"));
    make(f, SAIL__REPORT_HTML, 1);
    assert_null(strstr(f->out.data, "What is different"));
}

static void text_has_curves_and_no_control_characters(void **state)
{
    fixture *f = *state;
    for (size_t n = 1; n <= 2; n++) {
        make(f, SAIL__REPORT_TEXT, n);
        for (size_t i = 0; i < f->out.len; i++)
            assert_true((unsigned char)f->out.data[i] >= 32 || f->out.data[i] == '\n');
        assert_true(sail__utf8_valid(f->out.data, f->out.len));
        assert_non_null(strstr(f->out.data, "█"));
        assert_non_null(strstr(f->out.data, "rewards/rejected"));
    }
}

#define METHOD "o<n>"
/* Two seeds of one method against a base, in the first run. */
static void add_comparison(fixture *f, const char *stage, const char *info)
{
    char path[128];
    sail__store *s;
    snprintf(path, sizeof path, "%s/run.db", f->runs[0]);
    ok(f, sail__store_open(path, SAIL__STORE_WRITE, &s, &f->err));
    const char *train[] = {"loss", "rewards/accuracies"}, *rates[] = {("win_rate/" METHOD "_vs_base"), ("win_rate/" METHOD "_vs_base/low"), ("win_rate/" METHOD "_vs_base/high"),
                           ("completions/mean_length/" METHOD), "completions/prompts"};
    for (int64_t i = 0; i < 4; i++) {
        double one[] = {10 + (double)i, 0.5}, two[] = {20 + (double)i, 0.5};
        ok(f, sail__store_add_metrics(s, "on-1", i, train, one, 2, &f->err));
        if (i != 2) /* a step that this seed lacks */
            ok(f, sail__store_add_metrics(s, "on-2", i, train, two, 2, &f->err));
    }
    double v[] = {0.75, 0.625, 0.875, 7.5, 96};
    ok(f, sail__store_add_metrics(s, stage, 0, rates, v, 5, &f->err));
    ok(f, sail__store_set_info(s, sail__arena_printf(f->arena, "comparison/%s", stage), info, &f->err));
    sail__store_close(s);
}

static void win_rates_stand_first_then_curves_then_samples(void **state)
{
    fixture *f = *state;
    add_comparison(f, "compare", "[{\"name\": \"base\", \"baseline\": true, \"stages\": []}, {\"name\": \"" METHOD "\", \"stages\": [\"on-1\", \"on-2\"]}]");
    make(f, SAIL__REPORT_HTML, 1);
    const char *at = f->out.data, *order[] = {"Win rates", "against base", "0.750", "0.625 to 0.875", "2 seeds", "id='m0-0'", "<h2>Samples", "Stage by stage"};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const char *next = strstr(at, order[i]);
        if (!next)
            fail_msg("`%s` is missing, or not in its place", order[i]);
        at = next;
    }
    assert_null(strstr(f->out.data, METHOD));
    assert_non_null(strstr(f->out.data, "o&lt;n&gt;"));
    const char *begin = strstr(f->out.data, "id='data'>") + strlen("id='data'>");
    sail_node *data;
    ok(f, sail__json_parse(f->arena, begin, (size_t)(strstr(begin, "</script>") - begin), "page", 1, &data, &f->err));
    const sail_node *line = sail__node_find(data, "charts[1].lines[0]");
    assert_string_equal(sail__node_find(data, "charts[1].at")->string.data, "m0-0");
    assert_string_equal(sail__node_get(line, "label")->string.data, METHOD);
    static const double mean[] = {15, 16, 12, 18};
    for (size_t i = 0; i < 4; i++) {
        double y;
        ok(f, sail__node_as_double(sail__node_get(line, "y")->list.items[i], "y", &y, &f->err));
        assert_true(y == mean[i]);
    }
    make(f, SAIL__REPORT_TEXT, 1);
    const char *rates = strstr(f->out.data, "win rates"), *curves = strstr(f->out.data, "rewards/accuracies");
    assert_true(rates && curves && rates < curves);
    assert_non_null(strstr(f->out.data, "0.750 [0.625, 0.875] +"));
    assert_non_null(strstr(f->out.data, "96 prompts, 2 seeds"));
}

/* Judged by one and by another: a table each, named after its stage, and the curves once. */
static void two_comparisons_of_the_same_models_share_their_curves(void **state)
{
    fixture *f = *state;
    static const char info[] = "[{\"name\": \"base\", \"baseline\": true, \"stages\": []}, {\"name\": \"" METHOD "\", \"stages\": [\"on-1\", \"on-2\"]}]";
    add_comparison(f, "compare", info);
    make(f, SAIL__REPORT_HTML, 1);
    assert_non_null(strstr(f->out.data, "<h2>Win rates</h2>"));
    add_comparison(f, "by-<b>", info);
    make(f, SAIL__REPORT_HTML, 1);
    assert_non_null(strstr(f->out.data, "<h2>Win rates: compare</h2>"));
    assert_non_null(strstr(f->out.data, "<h2>Win rates: by-&lt;b&gt;</h2>"));
    assert_int_equal(count(f->out.data, "<h2>Training, by step"), 1);
    make(f, SAIL__REPORT_TEXT, 1);
    assert_int_equal(count(f->out.data, "win rates"), 2);
    assert_non_null(strstr(f->out.data, "\nby-<b>\nwin rates"));
    assert_int_equal(count(f->out.data, "\n" METHOD " "), 2 + 2); /* of each table, and of two curves, the others being none */
}

static void a_comparison_of_which_nothing_is_told_has_its_table(void **state)
{
    fixture *f = *state;
    static const char *const infos[] = {"{", "3", "[3, {\"name\": 4}, {\"stages\": 1}]", "[{\"name\": \"x\", \"stages\": [1, \"none\"]}]"};
    for (size_t i = 0; i < sizeof infos / sizeof *infos; i++) {
        add_comparison(f, "compare", infos[i]);
        make(f, SAIL__REPORT_HTML, 1);
        assert_non_null(strstr(f->out.data, "0.625 to 0.875"));
        make(f, SAIL__REPORT_TEXT, 1);
        assert_non_null(strstr(f->out.data, "0.750 [0.625, 0.875] +"));
    }
}

static void what_is_no_run_is_said(void **state)
{
    fixture *f = *state;
    sail__report_options o = {.format = SAIL__REPORT_TEXT};
    const char *paths[] = {"/nonexistent/run"}, *empty[] = {f->dir};
    assert_int_equal(sail__report(paths, 1, &o, &f->out, &f->err), SAIL_E_NOTFOUND);
    assert_non_null(strstr(f->err.message, "/nonexistent/run"));
    assert_int_equal(sail__report(empty, 1, &o, &f->out, &f->err), SAIL_E_NOTFOUND);
    assert_non_null(strstr(f->err.message, "run.db"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(json_holds_every_value),
        T(csv_has_a_row_a_value),
        T(html_lets_nothing_out),
        T(tokens_are_coloured_whole_and_only_where_their_places_are_known),
        T(recipes_are_compared_key_by_key),
        T(text_has_curves_and_no_control_characters),
        T(win_rates_stand_first_then_curves_then_samples),
        T(two_comparisons_of_the_same_models_share_their_curves),
        T(a_comparison_of_which_nothing_is_told_has_its_table),
        T(what_is_no_run_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
