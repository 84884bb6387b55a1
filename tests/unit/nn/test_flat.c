/* test_flat.c - updates of the flat space by the optimisers' plugins, beside what their formulas say in double. */
#include "../../rig.h"

#include "nn/flat.h"

enum { N = 5 };

/* Under a gradient that stays the same Adam's moments, corrected, are the gradient and its square from the first step on: each step is the
 * rate. A beta that is rounded in one place only shows at once: 1 - 0.999f is 1.3e-5 less than 0.001. */
static void adam_steps_by_the_rate(void **state)
{
    const float g[N] = {1, -0.25f, 3e-3f, -40, 1e-3f};
    const double rate = (double)1e-3f;
    static const char *const betas[][2] = {{"0.9", "0.999"}, {"0.9", "0.95"}, {"0.5", "0.9999"}, {"0", "0.99"}};
    sail_err err = {0};
    rig r;
    rig_open(&r, (int)(intptr_t)*state);
    for (size_t b = 0; b < sizeof betas / sizeof betas[0]; b++) {
        const sail_slot slot =
            rig_slot(&r, SAIL_KIND_OPTIMIZER, "adamw", test_map(r.arena, "beta1", betas[b][0], "beta2", betas[b][1], "eps", "0", NULL));
        const sail__flat_entry entry = {.name = "w", .rows = 1, .cols = N};
        const float zero[N] = {0};
        float w[N];
        sail_optimizer_plan plan = {0};
        sail__flat *f;
        ((const sail_optimizer *)slot.loaded->ops)->plan(slot.options, &plan);
        if (sail__flat_new(r.rt, &entry, 1, &plan, false, &f, &err) != SAIL_OK || sail__flat_put(f, 0, zero, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        const sail_tensor gradient = sail__flat_view(f, 0, SAIL__FLAT_GRADIENT, 0), weight = sail__flat_view(f, 0, SAIL__FLAT_WEIGHT, 0);
        for (int t = 1; t <= 20; t++) {
            sail__update u = {.rate = rate, .step = t};
            if (sail__tensor_put_f32(r.rt, &gradient, g, &err) != SAIL_OK || sail__flat_update(f, &u, &err) != SAIL_OK ||
                sail__tensor_get_f32(r.rt, &weight, w, &err) != SAIL_OK)
                fail_msg("%s", err.message);
            for (int i = 0; i < N; i++)
                rig_judge(&r, "steps (relative)", betas[b][1], fabs((double)w[i] / (g[i] > 0 ? -rate * t : rate * t) - 1), 1e-6);
        }
        sail__flat_free(f);
    }
    rig_report(&r, "Adam");
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(adam_steps_by_the_rate, 0, "ref"),
        VARIANT(adam_steps_by_the_rate, 2, "cpu f32"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
