/* test_schedules.c - learning-rate schedules against golden/method/schedules/schedules.json. */
#include "../golden.h"
#include "../plugin.h"

#include "align/schedule.h"

/* The recorded case in our words; false for schedules that we do not have. */
static bool schedule_for(const sail_node *file, const sail_node *x, sail__lr_schedule *s)
{
    const char *name = test_string(sail__node_get(x, "name"));
    const sail_node *options = sail__node_get(x, "options"), *floor = sail__node_get(options, "min_lr");
    *s = (sail__lr_schedule){.warmup = test_number(sail__node_get(file, "warmup"))};
    if (!strcmp(name, "constant")) { /* transformers' has no warm-up */
        s->warmup = 0;
        s->kind = SAIL__LR_CONSTANT;
    } else if (!strcmp(name, "constant_with_warmup")) {
        s->kind = SAIL__LR_CONSTANT;
    } else if (!strcmp(name, "linear")) {
        s->kind = SAIL__LR_LINEAR;
    } else if (!strcmp(name, "cosine") || (!strcmp(name, "cosine_with_min_lr") && floor)) {
        s->kind = SAIL__LR_COSINE;
        s->floor = floor ? test_number(floor) / test_number(sail__node_get(file, "base_lr")) : 0;
    } else {
        return false;
    }
    return true;
}

static void learning_rates_match_transformers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f;
    const sail_node *root = golden_json(&f, "method/schedules/schedules.json"), *cases = sail__node_get(root, "cases");
    double base = test_number(sail__node_get(root, "base_lr")), worst = 0;
    int64_t total = sail__node_get(root, "total")->integer;
    int used = 0;
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *lr = sail__node_get(x, "lr");
        sail__lr_schedule s;
        if (!schedule_for(root, x, &s))
            continue;
        used++;
        for (size_t k = 0; k < lr->list.n; k++) {
            double got = base * sail__lr_factor(&s, (int64_t)k, total), want = test_number(lr->list.items[k]);
            double d = test_deviation(got, want, 1e-13, base);
            worst = fmax(worst, d);
            if (!(d <= 1))
                fail_msg("%s, step %d: %.17g, recorded %.17g", test_string(sail__node_get(x, "name")), (int)k, got,
                         want);
        }
    }
    print_message("schedules.json: %d of %d cases, largest share of the tolerance %.4f\n", used, (int)cases->list.n,
                  worst);
    assert_true(used > 0);
    golden_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(learning_rates_match_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
