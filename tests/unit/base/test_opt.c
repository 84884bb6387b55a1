/* test_opt.c - option tables: values, ranges, suffixes, and every problem told at once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/node.h"

struct options {
    bool on;
    int64_t steps, seed;
    double lr, weight;
    const char *path;
    int mode;
    const sail_node *extra;
};

static const char *const modes[] = {"fast", "very_slow", "off", NULL};

static const sail_opt table[] = {
    SAIL_OPT_BOOL(struct options, on, .def = 1, .help = "whether"),
    SAIL_OPT_INT(struct options, steps, .def = 100, .min = 1, .max = 1e9, .unit = "steps", .help = "how many"),
    SAIL_OPT_INT(struct options, seed, .def = 0, .help = "of all random numbers"),
    SAIL_OPT_F64(struct options, lr, .def = 1e-6, .min = 0, .max = 1, .help = "learning rate"),
    SAIL_OPT_F64(struct options, weight, .def = 0.5, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE, .help = "of a route"),
    SAIL_OPT_STR(struct options, path, .flags = SAIL_OPT_REQUIRED | SAIL_OPT_PATH, .help = "the model's directory"),
    SAIL_OPT_CHOICE(struct options, mode, .def = 1, .choices = modes, .help = "how"),
    SAIL_OPT_NODE(struct options, extra, .def_str = "much", .help = "anything"),
    {0},
};

static const char *const ignore[] = {"kind", NULL};

struct fixture {
    sail_arena *a;
    sail_problems problems;
    struct options o;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->a = sail__arena_new();
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sail__arena_free(f->a);
    free(f);
    return 0;
}

/* A map of key, value pairs as YAML would give them: bare words. Ends with NULL. */
static sail_node *map(sail_arena *a, ...)
{
    sail_node *m = sail__node_new(a, SAIL_NODE_MAP, "r.yaml", 1, 1);
    va_list ap;
    int line = 2;
    va_start(ap, a);
    for (const char *key; (key = va_arg(ap, const char *)); line++) {
        sail_node *v = sail__node_string(a, va_arg(ap, const char *), "r.yaml");
        v->line = line;
        assert_true(sail__node_set(a, m, key, v));
    }
    va_end(ap);
    return m;
}

static bool parse(struct fixture *f, const sail_node *m)
{
    f->problems = (sail_problems){.arena = f->a};
    memset(&f->o, 0, sizeof f->o);
    return sail__opt_parse(table, m, "train", ignore, NULL, NULL, &f->o, &f->problems);
}

static sail_node *json(struct fixture *f, const char *text)
{
    sail_node *n;
    sail_err err = {0};
    if (sail__json_parse(f->a, text, strlen(text), "r.json", 0, &n, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return n;
}

static void defaults_come_first(void **state)
{
    struct fixture *f = *state;
    assert_true(parse(f, map(f->a, "path", "x", NULL)));
    assert_true(f->o.on && f->o.steps == 100 && f->o.lr == 1e-6 && f->o.weight == 0.5 && f->o.mode == 1);
    assert_string_equal(f->o.path, "x");
    assert_null(f->o.extra);
    assert_true(parse(f, json(f, "{\"path\": \"x\", \"steps\": null}"))); /* null: the default */
    assert_int_equal(f->o.steps, 100);
}

static void numbers_are_read_as_people_write_them(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        int64_t want;
    } ints[] = {{"12", 12}, {"1e3", 1000}, {"64k", 64000}, {"64K", 64000}, {"4Ki", 4096}, {"2M", 2000000}, {"1Mi", 1048576}, {"1.5k", 1500}, {"+7", 7}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        if (!parse(f, map(f->a, "path", "x", "steps", ints[i].text, NULL)))
            fail_msg("%s: %s", ints[i].text, f->problems.items[0].message);
        assert_int_equal(f->o.steps, ints[i].want);
    }
    static const char *const wrong[] = {"", "x", "1x", "1.5", "k", "--3", "1e", "1 k", "0", "-1", "2e9", "nan", "inf", "- 3"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (parse(f, map(f->a, "path", "x", "steps", wrong[i], NULL)))
            fail_msg("%s was taken", wrong[i]);
        assert_int_equal(f->problems.n, 1);
    }
    assert_true(parse(f, map(f->a, "path", "x", "seed", "-5", "lr", "5e-6", "on", "no", NULL)));
    assert_true(f->o.seed == -5 && f->o.lr == 5e-6 && !f->o.on);
    assert_true(parse(f, json(f, "{\"path\": \"x\", \"seed\": 9007199254740993, \"steps\": 3.0, \"lr\": 1}")));
    assert_true(f->o.seed == 9007199254740993 && f->o.steps == 3 && f->o.lr == 1.0);
}

static void quoted_numbers_are_strings(void **state)
{
    struct fixture *f = *state;
    assert_false(parse(f, json(f, "{\"path\": \"x\", \"steps\": \"12\"}")));
    assert_string_equal(f->problems.items[0].message, "is \"12\", an integer is wanted");
    assert_false(parse(f, json(f, "{\"path\": 12}")));
    assert_string_equal(f->problems.items[0].message, "is an integer, a string (put it in quotes) is wanted");
    assert_false(parse(f, json(f, "{\"path\": \"a\\u0000b\"}")));
}

static void all_problems_are_told_with_their_places(void **state)
{
    struct fixture *f = *state;
    assert_false(parse(f, map(f->a, "stpes", "3", "lr", "2", "mode", "fats", "on", "maybe", "kind", "x", "zzz", "1", NULL)));
    assert_int_equal(f->problems.n, 6);
    static const struct {
        const char *where, *path, *message;
    } want[] = {
        {"r.yaml:2", "train.stpes", "there is no such option; did you mean steps?"},
        {"r.yaml:3", "train.lr", "is 2, out of range: 0 to 1"},
        {"r.yaml:4", "train.mode", "is \"fats\"; did you mean fast? It is one of: fast, very_slow, off"},
        {"r.yaml:5", "train.on", "is \"maybe\", true or false is wanted"},
        {"r.yaml:7", "train.zzz", "there is no such option; there are: on, steps, seed, lr, weight, path, mode, extra, kind"},
        {"r.yaml:1", "train.path", "is missing: the model's directory"},
    };
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(f->problems.items[i].where, want[i].where);
        assert_string_equal(f->problems.items[i].path, want[i].path);
        assert_string_equal(f->problems.items[i].message, want[i].message);
    }
    assert_false(parse(f, json(f, "[1]")));
    assert_string_equal(f->problems.items[0].message, "is a list, a map of options is wanted");
    assert_false(parse(f, NULL));
    assert_int_equal(f->problems.n, 1); /* required */
}

static void choices_are_names_however_yaml_read_them(void **state)
{
    struct fixture *f = *state;
    assert_true(parse(f, map(f->a, "path", "x", "mode", "very-slow", NULL)));
    assert_int_equal(f->o.mode, 1);
    assert_true(parse(f, json(f, "{\"path\": \"x\", \"mode\": false}")));
    assert_int_equal(f->o.mode, 2);
    assert_false(parse(f, json(f, "{\"path\": \"x\", \"mode\": true}")));
    assert_false(parse(f, json(f, "{\"path\": \"x\", \"mode\": 1}")));
}

static double half_of_from(void *user, const sail_node *schedule, sail_err *err)
{
    double from;
    (void)user;
    if (sail__node_as_double(sail__node_get(schedule, "from"), "from", &from, err) != SAIL_OK)
        return 0;
    return from / 2;
}

static void schedulable_numbers_take_schedules(void **state)
{
    struct fixture *f = *state;
    sail_node *m = json(f, "{\"path\": \"x\", \"weight\": {\"kind\": \"ramp\", \"from\": 0.8}}");
    assert_true(parse(f, m));
    assert_true(f->o.weight == 0.8);
    assert_true(sail__opt_parse(table, m, "", NULL, half_of_from, NULL, &f->o, &f->problems));
    assert_true(f->o.weight == 0.4);
    m = json(f, "{\"path\": \"x\", \"weight\": {\"from\": 4}}");
    assert_false(sail__opt_parse(table, m, "", NULL, half_of_from, NULL, &f->o, &f->problems));
    m = json(f, "{\"path\": \"x\", \"weight\": {\"from\": \"a\"}}");
    assert_false(sail__opt_parse(table, m, "", NULL, half_of_from, NULL, &f->o, &f->problems));
    assert_false(parse(f, json(f, "{\"path\": \"x\", \"lr\": {\"from\": 0.1}}"))); /* not schedulable */
    assert_string_equal(f->problems.items[0].message, "is a map, a number is wanted");
}

static void values_go_back_to_a_map(void **state)
{
    struct fixture *f = *state;
    sail_buf b = {0};
    assert_true(parse(f, json(f, "{\"path\": \"x\", \"mode\": \"fast\", \"extra\": [1, {\"a\": 2}]}")));
    sail_node *n = sail__opt_to_node(f->a, table, &f->o);
    sail__node_to_json(&b, n);
    assert_string_equal(b.data, "{\"on\": true, \"steps\": 100, \"seed\": 0, \"lr\": 1e-06, \"weight\": 0.5, \"path\": \"x\", "
                                "\"mode\": \"fast\", \"extra\": [1, {\"a\": 2}]}");
    struct options first = f->o;
    assert_true(parse(f, n));
    assert_true(first.lr == f->o.lr && first.mode == f->o.mode && first.seed == f->o.seed);
    sail__buf_free(&b);
}

static void table_is_described(void **state)
{
    struct fixture *f = *state;
    sail_buf b = {0};
    (void)f;
    sail__opt_describe(&b, table, "  ");
    assert_non_null(strstr(b.data, "  steps                integer 1 to 1000000000 steps, default 100: how many\n"));
    assert_non_null(strstr(b.data, "  mode                 one of fast, very_slow, off, default very_slow: how\n"));
    assert_non_null(strstr(b.data, "  weight               number 0 to 1 or a schedule, default 0.5: of a route\n"));
    assert_non_null(strstr(b.data, "  path                 path, required: the model's directory\n"));
    assert_non_null(strstr(b.data, "  extra                value, default much: anything\n"));
    sail__buf_free(&b);
}

static void failing_allocations_never_make_a_problem_vanish(void **state)
{
    struct fixture *f = *state;
    sail_node *m = map(f->a, "stpes", "3", "lr", "2", "path", "x", NULL);
    sail_node *good = map(f->a, "lr", "1", "path", "x", NULL);
    for (long k = 1; k < 30; k++) {
        sail_arena *a = sail__arena_new();
        sail_problems p = {.arena = a};
        sail__alloc_fail_at(k);
        bool ok = sail__opt_parse(table, m, "t", NULL, NULL, NULL, &f->o, &p);
        bool fine = sail__opt_parse(table, good, "t", NULL, NULL, NULL, &f->o, &p);
        sail__alloc_fail_at(0);
        assert_false(ok);
        assert_true(fine);
        for (size_t i = 0; i < p.n; i++)
            assert_true(p.items[i].where && p.items[i].path && p.items[i].message);
        sail__arena_free(a);
    }
}

#define WITH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(defaults_come_first),
        WITH(numbers_are_read_as_people_write_them),
        WITH(quoted_numbers_are_strings),
        WITH(all_problems_are_told_with_their_places),
        WITH(choices_are_names_however_yaml_read_them),
        WITH(schedulable_numbers_take_schedules),
        WITH(values_go_back_to_a_map),
        WITH(table_is_described),
        WITH(failing_allocations_never_make_a_problem_vanish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
