/* test_base.c - arenas, buffers, strings, errors, the context. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "sail/log.h"

static void arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    sail_arena *a = sail__arena_new();
    for (int round = 0; round < 3; round++) {
        unsigned char *last = NULL;
        for (size_t n = 0; n < 3000; n += 7) {
            unsigned char *p = sail__arena_alloc(a, n);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 16, 0);
            assert_ptr_not_equal(p, last);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xff, n);
            last = p;
        }
        unsigned char *large = sail__arena_alloc(a, 5 << 20);
        assert_non_null(large);
        assert_int_equal(large[(5 << 20) - 1], 0);
        memset(large, 0xff, 5 << 20);
        size_t before = sail__arena_bytes(a);
        sail__arena_reset(a);
        assert_int_equal(sail__arena_bytes(a), before);
        if (round == 0)
            continue;
        static size_t first;
        if (round == 1)
            first = before;
        else
            assert_int_equal(before, first); /* blocks are used again: the same work reserves nothing more */
    }
    assert_null(sail__arena_array(a, SIZE_MAX / 2, 4));
    assert_null(sail__arena_alloc(a, SIZE_MAX - 3));
    sail__arena_free(a);
    sail__arena_free(NULL);
}

static void large_objects_do_not_waste_the_current_block(void **state)
{
    (void)state;
    sail_arena *a = sail__arena_new();
    for (int i = 0; i < 100; i++) {
        assert_non_null(sail__arena_alloc(a, 16));
        assert_non_null(sail__arena_alloc(a, 100000));
    }
    assert_true(sail__arena_bytes(a) < 100 * 100000 * 3);
    sail__arena_free(a);
}

static void arena_strings(void **state)
{
    (void)state;
    sail_arena *a = sail__arena_new();
    assert_string_equal(sail__arena_printf(a, "%s-%d", "x", 5), "x-5");
    assert_memory_equal(sail__arena_strndup(a, "a\0b", 3), "a\0b", 4);
    assert_string_equal(sail__arena_strdup(a, ""), "");
    sail__arena_free(a);
}

static void buffer_grows_and_remembers_a_failure(void **state)
{
    (void)state;
    sail_buf b = {0};
    for (int i = 0; i < 1000; i++)
        sail__buf_printf(&b, "%d,", i);
    sail__buf_add(&b, "", 0);
    assert_int_equal(b.len, 3890);
    assert_int_equal(b.data[b.len], 0);
    assert_memory_equal(b.data + b.len - 4, "999,", 4);
    char longer[600];
    memset(longer, 'x', 599);
    longer[599] = '\0';
    size_t before = b.len;
    sail__buf_printf(&b, "%s!", longer);
    assert_int_equal(b.len, before + 600);
    assert_false(b.oom);
    sail__buf_free(&b);
    sail__alloc_fail_at(1);
    sail__buf_str(&b, "lost");
    sail__alloc_fail_at(0);
    sail__buf_str(&b, "also lost");
    assert_true(b.oom);
    assert_null(b.data);
    sail__buf_free(&b);
    assert_false(b.oom);
}

static void grow_checks_its_multiplication(void **state)
{
    (void)state;
    double *items = NULL;
    size_t cap = 0;
    sail_err err = {0};
    assert_int_equal(sail__grow(&items, &cap, 100, sizeof *items, &err), SAIL_OK);
    assert_true(cap >= 100);
    items[99] = 1;
    assert_int_equal(sail__grow(&items, &cap, SIZE_MAX / 4, sizeof *items, &err), SAIL_E_NOMEM);
    assert_true(items[99] == 1.0);
    sail__free(items);
}

static void ordered_allocation_fails(void **state)
{
    (void)state;
    sail__alloc_fail_at(3);
    void *a = sail__malloc(1), *b = sail__calloc(1, 1), *c = sail__malloc(1), *d = sail__malloc(0);
    sail__alloc_fail_at(0);
    assert_true(a && b && !c && d);
    sail__free(a);
    sail__free(b);
    sail__free(d);
}

static void nearest_name_is_near(void **state)
{
    (void)state;
    static const char *const names[] = {"learning_rate", "beta", "label_smoothing", "steps", "seed"};
    assert_int_equal(sail__edit_distance("kitten", "sitting"), 3);
    assert_int_equal(sail__edit_distance("baet", "beta"), 2);
    assert_int_equal(sail__edit_distance("btea", "beta"), 1); /* neighbours swapped */
    assert_int_equal(sail__edit_distance("a-b", "A_B"), 0);
    assert_int_equal(sail__edit_distance("", "abc"), 3);
    assert_string_equal(sail__nearest("learnin_rate", names, 5), "learning_rate");
    assert_string_equal(sail__nearest("btea", names, 5), "beta");
    assert_string_equal(sail__nearest("label", names, 5), "label_smoothing"); /* a beginning */
    assert_null(sail__nearest("warmup", names, 5));
    assert_null(sail__nearest("se", names, 0));
    assert_true(sail__name_equal("max-new_x", "max_new-x"));
    assert_false(sail__name_equal("max", "max_new"));
}

static void utf8_is_checked(void **state)
{
    (void)state;
    static const char *const good[] = {"", "abc", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xFF", "\xE2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(sail__utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sail__utf8_valid(bad[i], strlen(bad[i])));
    uint32_t c;
    assert_int_equal(sail__utf8_next("\xF0\x9F\x98\x80", 4, &c), 4);
    assert_int_equal(c, 0x1F600);
    assert_int_equal(sail__utf8_next("", 0, &c), 0);
}

static void patterns_match(void **state)
{
    (void)state;
    assert_true(sail__glob_match("model.layers.*.q_proj", "model.layers.12.q_proj"));
    assert_true(sail__glob_match("*", ""));
    assert_true(sail__glob_match("a*b*c", "aXXbYYbZc"));
    assert_true(sail__glob_match("?_proj", "q_proj"));
    assert_false(sail__glob_match("?_proj", "qq_proj"));
    assert_false(sail__glob_match("a*b", "abc"));
    assert_false(sail__glob_match("", "x"));
}

static void hashes_are_the_published_ones(void **state)
{
    (void)state;
    char hex[33];
    /* XXH3 of the empty input, as the library's own documentation gives them */
    assert_true(sail__hash64("", 0, 0) == 0x2d06800538d394c2u);
    sail__hash_hex("", 0, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    assert_true(sail__hash64("a", 1, 0) != sail__hash64("a", 1, 1));
}

static void errors_are_cut_at_a_character(void **state)
{
    (void)state;
    sail_err err;
    char text[1100];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4);
        assert_int_equal(sail_fail(&err, SAIL_E_IO, "%s", text), SAIL_E_IO);
        assert_true(strlen(err.message) > 1015);
        assert_true(sail__utf8_valid(err.message, strlen(err.message)));
    }
    sail_fail(&err, SAIL_E_IO, "short");
    assert_int_equal(sail_fail_in(&err, "file %d", 3), SAIL_E_IO);
    assert_string_equal(err.message, "file 3: short");
    assert_int_equal(sail_fail(NULL, SAIL_E_SHAPE, "x"), SAIL_E_SHAPE);
    for (int c = 0; c < SAIL_E_COUNT; c++) {
        assert_true(strlen(sail_code_text((sail_code)c)) > 3);
        assert_in_range(sail_code_status((sail_code)c), c ? 1 : 0, c ? 2 : 0);
    }
}

struct heard {
    int n;
    sail_log_level level;
    char text[4096];
};

static void hear(void *user, sail_log_level level, const char *message)
{
    struct heard *h = user;
    h->n++;
    h->level = level;
    snprintf(h->text, sizeof h->text, "%s", message);
}

static void hear_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    snprintf(user, 100, "%s %d/%d", what, (int)done, (int)total);
}

static void context_logs_cancels_and_tells_progress(void **state)
{
    (void)state;
    struct heard a = {0}, b = {0};
    char progress[100] = "";
    sail_ctx *one = sail_ctx_new(), *two = sail_ctx_new();
    sail_ctx_set_log(one, SAIL_LOG_WARN, hear, &a);
    sail_ctx_set_log(two, SAIL_LOG_DEBUG, hear, &b);
    sail_log(one, SAIL_LOG_INFO, "not heard");
    sail_log(one, SAIL_LOG_WARN, "step %d", 3);
    assert_int_equal(a.n, 1);
    assert_string_equal(a.text, "step 3");
    assert_int_equal(b.n, 0);
    char longer[3000];
    memset(longer, 'y', 2999);
    longer[2999] = '\0';
    sail_log(two, SAIL_LOG_DEBUG, "%s", longer);
    assert_string_equal(b.text, longer);
    assert_false(sail_cancelled(one));
    sail_cancel(one);
    assert_true(sail_cancelled(one));
    assert_false(sail_cancelled(two));
    sail_progress(one, "nobody listens", 1, 2);
    sail_ctx_set_progress(one, hear_progress, progress);
    sail_progress(one, "steps", 1, 2);
    assert_string_equal(progress, "steps 1/2");
    sail_ctx_free(one);
    sail_ctx_free(two);
    sail_ctx_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(large_objects_do_not_waste_the_current_block),
        cmocka_unit_test(arena_strings),
        cmocka_unit_test(buffer_grows_and_remembers_a_failure),
        cmocka_unit_test(grow_checks_its_multiplication),
        cmocka_unit_test(ordered_allocation_fails),
        cmocka_unit_test(nearest_name_is_near),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(hashes_are_the_published_ones),
        cmocka_unit_test(errors_are_cut_at_a_character),
        cmocka_unit_test(context_logs_cancels_and_tells_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
