/* test_schedules.c - learning-rate schedules against golden/method/schedules/schedules.json. */
#include "../golden.h"
#include "../plugin.h"

#include "align/schedule.h"

/* The recorded case in our words. */
static sail__lr_schedule schedule_for(sail_arena *a, const sail_node *file, const sail_node *x)
{
    static const char *const names[][2] = {{"constant_with_warmup", "constant"}, {"cosine_with_min_lr", "cosine"}};
    static const char *const same[][2] = {{"num_cycles", "cycles"}, {"power", "power"}, {"timescale", "timescale"}};
    const char *name = test_string(sail__node_get(x, "name"));
    const sail_node *options = sail__node_get(x, "options"), *end = sail__node_get(options, "min_lr"), *last = sail__node_get(options, "lr_end");
    const double base = test_number(sail__node_get(file, "base_lr"));
    double floor = end ? test_number(end) / base : last ? test_number(last) / base : !strcmp(name, "polynomial") ? 1e-7 / base : 0;
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "test", 0, 0), *share = sail__node_new(a, SAIL_NODE_FLOAT, "test", 0, 0);
    sail__lr_schedule s;
    sail_err err = {0};
    const char *kind = name;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        kind = strcmp(name, names[i][0]) ? kind : names[i][1];
    share->number = floor;
    sail__node_set(a, map, "kind", sail__node_string(a, kind, "test"));
    sail__node_set(a, map, "floor", share);
    if (strcmp(name, "constant") != 0) /* transformers' has no warm-up */
        sail__node_set(a, map, "warmup", sail__node_get(file, "warmup"));
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (sail__node_get(options, same[i][0]))
            sail__node_set(a, map, same[i][1], sail__node_get(options, same[i][0]));
    if (sail__lr_parse(map, &s, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return s;
}

static void learning_rates_match_transformers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f;
    const sail_node *root = golden_json(&f, "method/schedules/schedules.json"), *cases = sail__node_get(root, "cases");
    double base = test_number(sail__node_get(root, "base_lr")), worst = 0;
    int64_t total = sail__node_get(root, "total")->integer;
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *lr = sail__node_get(x, "lr");
        const sail__lr_schedule s = schedule_for(f.arena, root, x);
        for (size_t k = 0; k < lr->list.n; k++) {
            double got = base * sail__lr_factor(&s, (int64_t)k, total), want = test_number(lr->list.items[k]);
            double d = test_deviation(got, want, 1e-13, base);
            worst = fmax(worst, d);
            if (!(d <= 1))
                fail_msg("%s, step %d: %.17g, recorded %.17g", test_string(sail__node_get(x, "name")), (int)k, got,
                         want);
        }
    }
    print_message("schedules.json: %d cases, largest share of the tolerance %.4f\n", (int)cases->list.n, worst);
    assert_true(cases->list.n > 0);
    golden_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learning_rates_match_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
