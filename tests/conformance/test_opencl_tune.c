/* test_opencl_tune.c - the tuner of matrix products: what miscomputes is left out, what was chosen is kept and taken again.
 *
 * Kernels are spoilt by a hidden option of theirs: -D PLANT_WIDTH=8 makes panels of 8 rows, and only these, drop their last term. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "device.h"

typedef struct seen {
    int tried, excluded, right;
    char chosen[128], problem[256], excluded_way[128];
} seen;

static void watch(void *user, const sail_tried *row)
{
    seen *s = user;
    if (row->chosen) {
        snprintf(s->chosen, sizeof s->chosen, "%s", row->way);
        return;
    }
    s->tried++;
    if (row->problem) {
        assert_true(row->seconds < 0);
        s->excluded++;
        snprintf(s->problem, sizeof s->problem, "%s", row->problem);
        snprintf(s->excluded_way, sizeof s->excluded_way, "%s", row->way);
    } else {
        assert_true(row->seconds >= 0 && row->flops > 0);
        s->right++;
    }
}

static sail_call product(int64_t m, int64_t n, int64_t k, sail_dtype b)
{
    sail_buffer *const any = (sail_buffer *)(uintptr_t)8; /* not read */
    return (sail_call){.op = SAIL_OP_MATMUL, .n_in = 2, .n_out = 1, .attr = {.trans_b = true, .scale = 1, .dtype = SAIL_F32},
                       .in = {{any, 0, m, k, k, SAIL_F32}, {any, 0, n, k, k, b}}, .out = {{any, 0, m, n, n, SAIL_F32}}};
}

static void good(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

/* Skips where there is no device. */
static void open_with(device *d, const char *cache, const char *const *more, int n_more)
{
    const char *options[8];
    char text[512];
    snprintf(text, sizeof text, "cache=%s", cache);
    options[0] = text;
    for (int i = 0; i < n_more; i++)
        options[1 + i] = more[i];
    if (!device_open(d, "opencl", NULL, options, 1 + n_more)) {
        if (d->code == SAIL_E_NOTFOUND || d->code == SAIL_E_OPTION) /* no device, or not one that has what was asked for */
            skip();
        fail();
    }
}

static void choices(device *d, char out[4096])
{
    sail_err err = {0};
    size_t n = 0;
    good(d->rt->backend->choices_save(d->rt->device, out, 4095, &n, &err), &err);
    assert_true(n < 4095);
    out[n] = '\0';
}

static const char *directory(char out[64])
{
    snprintf(out, 64, "/tmp/sail-tune-XXXXXX");
    return mkdtemp(out);
}

static void a_candidate_that_miscomputes_is_excluded(void **state)
{
    static const char *const plant[] = {"build=-D PLANT_WIDTH=8"};
    char dir[64];
    device d;
    sail_err err = {0};
    seen s = {0};
    const sail_call c = product(24, 64, 48, SAIL_F32);
    open_with(&d, directory(dir), plant, 1);
    good(d.rt->backend->tune(d.rt->device, &c, watch, &s, &err), &err);
    assert_true(s.right > 0);
    assert_int_equal(s.excluded, 2); /* panels of 8 rows, two ways of sharing them out */
    assert_non_null(strstr(s.excluded_way, "panels"));
    assert_non_null(strstr(s.problem, "elements are wrong, the first found at ["));
    assert_string_not_equal(s.chosen, s.excluded_way);
    device_close(&d);
    sail__remove_tree(dir, &err);
}

static void what_was_chosen_is_taken_again(void **state)
{
    char dir[64], first[4096], second[4096];
    device d;
    sail_err err = {0};
    seen s = {0};
    const sail_call c = product(3, 40, 64, SAIL_Q8_0);
    open_with(&d, directory(dir), NULL, 0);
    good(d.rt->backend->tune(d.rt->device, &c, watch, &s, &err), &err);
    assert_int_equal(s.excluded, 0);
    choices(&d, first);
    assert_non_null(strstr(first, "nt f32 q8_0 f32 3 32 64 = "));
    assert_non_null(strstr(first, s.chosen));
    assert_non_null(strstr(first, " timed\n"));
    device_close(&d);

    open_with(&d, dir, NULL, 0); /* beside the programs */
    choices(&d, second);
    assert_string_equal(first, second);
    device_close(&d);

    static const char *const off[] = {"tune=off"};
    open_with(&d, dir, off, 1);
    choices(&d, second);
    assert_null(strstr(second, " = "));
    good(d.rt->backend->choices_load(d.rt->device, first, strlen(first), &err), &err); /* from a checkpoint */
    choices(&d, second);
    assert_string_equal(first, second);
    device_close(&d);
    sail__remove_tree(dir, &err);
}

/* Every class that was used is in the checkpoint, and of choices that are of something else, or damaged, none is taken. */
static void choices_are_checked(void **state)
{
    char dir[64], text[4096], after[4096];
    device d;
    sail_err err = {0};
    sail_tensor a, b, y;
    open_with(&d, directory(dir), NULL, 0);
    good(sail__tensor_alloc(d.rt, SAIL_F32, 5, 8, &a, &err), &err);
    good(sail__tensor_alloc(d.rt, SAIL_F32, 16, 8, &b, &err), &err);
    good(sail__tensor_alloc(d.rt, SAIL_F32, 5, 16, &y, &err), &err);
    sail_call c = product(5, 16, 8, SAIL_F32);
    c.in[0] = a, c.in[1] = b, c.out[0] = y;
    good(d.rt->backend->run(d.rt->device, &c, 1, &err), &err);
    choices(&d, text);
    char *line = strstr(text, "nt f32 f32 f32 5 16 8 = lines ");
    assert_non_null(line);

    char *number = line + strlen("nt f32 f32 f32 5 16 8 = lines ");
    *number = '7'; /* a way that no device has */
    good(d.rt->backend->choices_load(d.rt->device, text, strlen(text), &err), &err);
    choices(&d, after);
    assert_null(strstr(after, " = "));

    text[24] = text[24] == 'a' ? 'b' : 'a'; /* another device's */
    good(d.rt->backend->run(d.rt->device, &c, 1, &err), &err);
    good(d.rt->backend->choices_load(d.rt->device, text, strlen(text), &err), &err);
    choices(&d, after);
    assert_non_null(strstr(after, "nt f32 f32 f32 5 16 8 = lines "));
    good(d.rt->backend->choices_load(d.rt->device, "", 0, &err), &err);
    sail__tensor_free(d.rt, &a);
    sail__tensor_free(d.rt, &b);
    sail__tensor_free(d.rt, &y);
    device_close(&d);
    sail__remove_tree(dir, &err);
}

/* One product in types t; what is then known of the choices. */
static void run_one(const char *variants, int64_t m, int64_t n, int64_t k, sail_dtype t, const char *chosen)
{
    char dir[64], text[4096], option[64];
    const char *const more[] = {option};
    device d;
    sail_err err = {0};
    sail_call c = product(m, n, k, t);
    snprintf(option, sizeof option, "variants=%s", variants);
    open_with(&d, directory(dir), more, 1);
    c.attr.dtype = t;
    good(sail__tensor_alloc(d.rt, t, m, k, &c.in[0], &err), &err);
    good(sail__tensor_alloc(d.rt, t, n, k, &c.in[1], &err), &err);
    good(sail__tensor_alloc(d.rt, t, m, n, &c.out[0], &err), &err);
    good(d.rt->backend->run(d.rt->device, &c, 1, &err), &err);
    choices(&d, text);
    if (!strstr(text, chosen) && (t != SAIL_F16 || strstr(d.rt->info.note, "fp16")))
        fail_msg("no \"%s\" in %s", chosen, text);
    for (int i = 0; i < 2; i++)
        sail__tensor_free(d.rt, &c.in[i]);
    sail__tensor_free(d.rt, &c.out[0]);
    device_close(&d);
    sail__remove_tree(dir, &err);
}

static void subgroups_that_are_asked_for_are_used(void **state)
{
    run_one("subgroups", 5, 16, 64, SAIL_F32, "nt f32 f32 f32 5 16 64 = lines 4 1 16 1 1 0");
}

static void pairs_that_are_asked_for_are_used(void **state)
{
    run_one("pairs", 24, 64, 48, SAIL_BF16, "nt bf16 bf16 bf16 24 64 48 = pairs ");
    /* where the device has fp16 */
    run_one("pairs", 24, 64, 48, SAIL_F16, "nt f16 f16 f16 24 64 48 = pairs ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_candidate_that_miscomputes_is_excluded),
        cmocka_unit_test(what_was_chosen_is_taken_again),
        cmocka_unit_test(choices_are_checked),
        cmocka_unit_test(subgroups_that_are_asked_for_are_used),
        cmocka_unit_test(pairs_that_are_asked_for_are_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
