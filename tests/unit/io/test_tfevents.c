/* test_tfevents.c - TensorBoard event files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/tfevents.h"

typedef struct fixture {
    char dir[64];
    sail_arena *arena;
    sail_err err;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    strcpy(f->dir, "/tmp/sail-tfevents-XXXXXX");
    f->arena = sail__arena_new();
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    sail__arena_free(f->arena);
    sail__remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

static void ok(fixture *f, sail_code code)
{
    if (code != SAIL_OK)
        fail_msg("%s", f->err.message);
}

static const char *only_file(fixture *f)
{
    char **names;
    size_t n;
    ok(f, sail__list_dir(f->arena, f->dir, &names, &n, &f->err));
    assert_int_equal(n, 1);
    return sail__path_join(f->arena, f->dir, names[0]);
}

static void write_steps(fixture *f, int64_t after, int64_t from, int64_t to)
{
    sail__tfevents *w;
    ok(f, sail__tfevents_open(f->dir, "align", after, &w, &f->err));
    for (int64_t i = from; i < to; i++) {
        const char *tags[] = {"loss", "rewards/margins"};
        double values[] = {1.0 / (double)(i + 1), i == 1 ? (double)NAN : (double)i * 1000};
        ok(f, sail__tfevents_add(w, i, tags, values, 2, &f->err));
    }
    ok(f, sail__tfevents_close(w, &f->err));
}

static void crc_has_the_published_values(void **state)
{
    (void)state; /* RFC 3720, B.4 */
    unsigned char b[32] = {0};
    assert_int_equal(sail__crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, 32);
    assert_int_equal(sail__crc32c(0, b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        b[i] = (unsigned char)i;
    assert_int_equal(sail__crc32c(0, b, 32), 0x46dd794e);
    assert_int_equal(sail__crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(sail__crc32c(sail__crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void first_record_is_byte_for_byte_what_tensorboard_expects(void **state)
{
    fixture *f = *state;
    sail_mapping m;
    write_steps(f, -1, 0, 0);
    ok(f, sail__file_map(only_file(f), &m, &f->err));
    assert_int_equal(m.size, 12 + 24 + 4);
    static const unsigned char length[] = {24, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22}; /* as TensorBoard writes it */
    assert_memory_equal(m.data, length, sizeof length);
    assert_int_equal(m.data[12], 0x09); /* wall_time, fixed64 */
    assert_int_equal(m.data[21], 0x1a); /* file_version, bytes */
    assert_memory_equal(m.data + 22, "\x0d" "brain.Event:2", 14);
    sail__file_unmap(&m);
}

static void values_come_back(void **state)
{
    fixture *f = *state;
    sail__tfevent *e;
    size_t n;
    write_steps(f, -1, 0, 300);
    ok(f, sail__tfevents_read(f->arena, only_file(f), &e, &n, NULL, &f->err));
    assert_int_equal(n, 301);
    assert_string_equal(e[0].file_version, "brain.Event:2");
    for (size_t i = 1; i < n; i++) {
        assert_int_equal(e[i].step, i - 1);
        assert_int_equal(e[i].n, 2);
        assert_string_equal(e[i].tags[1], "rewards/margins");
        assert_true(e[i].values[0] == (float)(1.0 / (double)i));
    }
    assert_true(isnan(e[2].values[1]));
    assert_true(e[300].values[1] == 299000);
}

static void resume_purges_later_steps(void **state)
{
    fixture *f = *state;
    sail__tfevent *e;
    size_t n;
    write_steps(f, -1, 0, 10);
    write_steps(f, 4, 5, 8);
    ok(f, sail__tfevents_read(f->arena, only_file(f), &e, &n, NULL, &f->err));
    assert_int_equal(n, 1 + 8);
    for (size_t i = 1; i < n; i++)
        assert_int_equal(e[i].step, i - 1);
}

static void half_a_record_at_the_end_is_dropped(void **state)
{
    fixture *f = *state;
    sail__tfevent *e;
    size_t n;
    uint64_t reach;
    sail_mapping m;
    write_steps(f, -1, 0, 3);
    const char *path = only_file(f);
    ok(f, sail__file_map(path, &m, &f->err));
    uint64_t size = m.size;
    sail__file_unmap(&m);
    for (uint64_t cut = 1; cut < 60; cut += 7) {
        assert_int_equal(truncate(path, (off_t)(size - cut)), 0);
        ok(f, sail__tfevents_read(f->arena, path, &e, &n, &reach, &f->err));
        assert_int_equal(n, cut < 50 ? 3 : n);
        assert_true(reach <= size - cut);
    }
    write_steps(f, 99, 7, 8);
    ok(f, sail__tfevents_read(f->arena, path, &e, &n, &reach, &f->err));
    assert_int_equal(e[n - 1].step, 7);
    assert_int_equal(e[n - 2].step, 1);
}

static void a_flipped_bit_is_noticed(void **state)
{
    fixture *f = *state;
    sail__tfevent *e;
    size_t n, size;
    char *data;
    write_steps(f, -1, 0, 5);
    const char *path = only_file(f);
    ok(f, sail__file_read(path, 1 << 20, &data, &size, &f->err));
    for (size_t bit = 0; bit < (size - 60) * 8; bit += 13) { /* not in the last record, which may be a torn one */
        data[bit / 8] ^= (char)(1 << bit % 8);
        ok(f, sail__file_write(path, data, size, &f->err));
        sail_code code = sail__tfevents_read(f->arena, path, &e, &n, NULL, &f->err);
        data[bit / 8] ^= (char)(1 << bit % 8);
        /* a changed length may point beyond the end: then the rest counts as torn */
        assert_true(code == SAIL_E_FORMAT || (code == SAIL_OK && n < 6));
    }
    sail__free(data);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(crc_has_the_published_values),
        T(first_record_is_byte_for_byte_what_tensorboard_expects),
        T(values_come_back),
        T(resume_purges_later_steps),
        T(half_a_record_at_the_end_is_dropped),
        T(a_flipped_bit_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
