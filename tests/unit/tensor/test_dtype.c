/* test_dtype.c - the table of data types and every conversion, against recorded blocks. */
#include <math.h>

#include "../../golden.h"

static void table_matches_the_block_formats(void **state)
{
    (void)state;
    assert_int_equal(sail_dtype_bytes(SAIL_F32, 3), 12);
    assert_int_equal(sail_dtype_bytes(SAIL_Q4_0, 64), 36);
    assert_int_equal(sail_dtype_bytes(SAIL_Q4_0, 33), SIZE_MAX);
    assert_int_equal(sail_dtype_bytes(SAIL_F64, UINT64_MAX / 8 + 1), SIZE_MAX);
    assert_true(sail_dtype_is_quantised(SAIL_Q6_K));
    assert_false(sail_dtype_is_quantised(SAIL_BF16));
    for (int t = 0; t < SAIL_DTYPE_COUNT; t++) {
        sail_dtype back;
        assert_true(sail_dtype_parse(sail_dtype_name((sail_dtype)t), &back));
        assert_int_equal(back, t);
    }
    sail_dtype t;
    assert_true(sail_dtype_parse("BF16", &t) && t == SAIL_BF16);
    assert_true(sail_dtype_parse("bfloat16", &t) && t == SAIL_BF16);
    assert_false(sail_dtype_parse("f8", &t));
    assert_string_equal(sail_dtype_name((sail_dtype)99), "unknown");
}

static void every_half_survives_the_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t in = (uint16_t)h, out;
        float f;
        assert_int_equal(sail_to_f32(SAIL_F16, &in, &f, 1, NULL), SAIL_OK);
        assert_int_equal(sail_from_f32(SAIL_F16, &f, &out, 1, NULL), SAIL_OK);
        if ((in & 0x7fff) > 0x7c00)
            assert_true(isnan(f) && (out & 0x7fff) > 0x7c00);
        else
            assert_int_equal(in, out);
    }
}

/* Between two neighbouring halves a and b, everything below the middle goes to a, above it to b, the middle to the even
 * one. The middle of two halves is a float. */
static void half_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint16_t h = 0; h < 0x7bff; h++) {
        uint16_t next = (uint16_t)(h + 1), got[3];
        float a, b;
        sail_to_f32(SAIL_F16, &h, &a, 1, NULL);
        sail_to_f32(SAIL_F16, &next, &b, 1, NULL);
        float middle = (a + b) / 2, x[3] = {nextafterf(middle, a), middle, nextafterf(middle, b)};
        sail_from_f32(SAIL_F16, x, got, 3, NULL);
        assert_int_equal(got[0], h);
        assert_int_equal(got[1], h & 1 ? next : h);
        assert_int_equal(got[2], next);
    }
    float big[4] = {65519.99f, 65520.0f, -1e30f, 1e-30f};
    uint16_t got[4];
    sail_from_f32(SAIL_F16, big, got, 4, NULL);
    assert_int_equal(got[0], 0x7bff);
    assert_int_equal(got[1], 0x7c00);
    assert_int_equal(got[2], 0xfc00);
    assert_int_equal(got[3], 0);
}

static void bf16_rounds_to_nearest_even_and_keeps_nan(void **state)
{
    (void)state;
    union {
        uint32_t u;
        float f;
    } v[] = {{0x3f808000}, {0x3f818000}, {0x3f808001}, {0x7f800001}, {0x7f7fffff}};
    uint16_t want[] = {0x3f80, 0x3f82, 0x3f81, 0x7fc0, 0x7f80}, got;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sail_from_f32(SAIL_BF16, &v[i].f, &got, 1, NULL), SAIL_OK);
        assert_int_equal(got, want[i]);
    }
}

static void special_halves_match_the_recorded_ones(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    golden_file f;
    golden_open(&f, "models/gguf/blocks.safetensors");
    size_t n, m;
    int64_t *bits = golden_ints(&f, "f16_special.bits", &n);
    float *value = golden_floats(&f, "f16_special.value", &m);
    assert_true(n == m && n > 0);
    for (size_t i = 0; i < n; i++) {
        uint16_t h = (uint16_t)bits[i], back;
        float got;
        sail_to_f32(SAIL_F16, &h, &got, 1, NULL);
        assert_memory_equal(&got, &value[i], 4); /* the sign of zero, too */
        sail_from_f32(SAIL_F16, &value[i], &back, 1, NULL);
        assert_int_equal(back, h);
    }
    golden_close(&f);
}

static bool written(sail_dtype t)
{
    return t == SAIL_F16 || t == SAIL_BF16 || t == SAIL_Q8_0 || (t >= SAIL_Q4_0 && t <= SAIL_Q5_1);
}

static void recorded_blocks(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    golden_file f;
    golden_open(&f, "models/gguf/blocks.safetensors");
    size_t n_source;
    float *source = golden_floats(&f, "source", &n_source);
    int types = 0;
    double worst = 0;
    for (size_t i = 0; i < f.header->list.n; i++) {
        char type[32] = "", name[64];
        sail_dtype t;
        const char *key = f.header->list.keys[i], *dot = strstr(key, ".raw");
        if (!dot || (size_t)(dot - key) >= sizeof type)
            continue;
        memcpy(type, key, (size_t)(dot - key));
        if (!sail_dtype_parse(type, &t)) {
            print_message("%s: not a data type of sail\n", type);
            continue;
        }
        types++;
        golden_tensor raw = golden_get(&f, key);
        snprintf(name, sizeof name, "%s.value", type);
        size_t n;
        float *want = golden_floats(&f, name, &n), *got = sail__arena_array(f.arena, n, sizeof *got);
        assert_int_equal(sail_dtype_bytes(t, n), raw.bytes);
        assert_int_equal(sail_to_f32(t, raw.raw, got, n, NULL), SAIL_OK);
        double largest = 0, off = 0;
        for (size_t k = 0; k < n; k++) {
            largest = fmax(largest, fabs((double)want[k]));
            off = fmax(off, fabs((double)want[k] - (double)got[k]));
        }
        if (!(off <= 1e-6 * largest))
            fail_msg("%s: off by %g of %g", type, off, largest);
        worst = fmax(worst, off / largest);
        if (!written(t))
            continue;
        unsigned char *bytes = sail__arena_alloc(f.arena, raw.bytes);
        assert_int_equal(n, n_source);
        assert_int_equal(sail_from_f32(t, source, bytes, n, NULL), SAIL_OK);
        for (size_t k = 0; k < raw.bytes; k++)
            if (bytes[k] != raw.raw[k])
                fail_msg("%s: byte %zu written as %d, recorded %d", type, k, bytes[k], raw.raw[k]);
    }
    print_message("%d types, largest deviation %g of the largest value\n", types, worst);
    assert_true(types > 0);
    golden_close(&f);
}

static void what_cannot_be_converted_says_so(void **state)
{
    (void)state;
    sail_err err = {0};
    float x[256] = {0};
    unsigned char bytes[1024] = {0};
    assert_int_equal(sail_to_f32(SAIL_I32, bytes, x, 1, &err), SAIL_E_DTYPE);
    assert_non_null(strstr(err.message, "i32"));
    assert_int_equal(sail_from_f32(SAIL_Q4_K, x, bytes, 256, &err), SAIL_E_DTYPE);
    assert_non_null(strstr(err.message, "q4_k"));
    assert_int_equal(sail_to_f32(SAIL_Q8_0, bytes, x, 31, &err), SAIL_E_SHAPE);
    assert_int_equal(sail_to_f32((sail_dtype)77, bytes, x, 1, &err), SAIL_E_DTYPE);
    x[7] = NAN;
    assert_int_equal(sail_from_f32(SAIL_Q4_0, x, bytes, 32, &err), SAIL_E_NUMERIC);
    assert_non_null(strstr(err.message, "element 7"));
    x[7] = 1e30f;
    assert_int_equal(sail_from_f32(SAIL_Q8_0, x, bytes, 32, &err), SAIL_E_NUMERIC);
    assert_int_equal(sail_from_f32(SAIL_BF16, x, bytes, 0, &err), SAIL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_matches_the_block_formats), cmocka_unit_test(every_half_survives_the_round_trip),
        cmocka_unit_test(half_rounds_to_nearest_even),     cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
        cmocka_unit_test(special_halves_match_the_recorded_ones), cmocka_unit_test(recorded_blocks),
        cmocka_unit_test(what_cannot_be_converted_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
