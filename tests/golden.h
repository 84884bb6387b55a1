/* golden.h - recorded numbers for tests: where they are, safetensors and JSON files of theirs.
 *
 * Header only, for tests. The directory is $SAIL_GOLDEN, else $SAIL_ROOT/../shared/golden; a test that needs it begins
 * with GOLDEN_OR_SKIP(). Everything handed out lives until golden_close. Names, shapes and counts come from the files.
 * A file or tensor that is not there fails the test. */
#ifndef SAIL_TEST_GOLDEN_H
#define SAIL_TEST_GOLDEN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/node.h"
#include "sail/tensor.h"

#define GOLDEN_UNUSED __attribute__((unused))

/* The directory, or NULL. */
GOLDEN_UNUSED static const char *golden_dir(void)
{
    static char dir[4096];
    const char *set = getenv("SAIL_GOLDEN"), *root = getenv("SAIL_ROOT");
    if (set && *set)
        snprintf(dir, sizeof dir, "%s", set);
    else
        snprintf(dir, sizeof dir, "%s/../shared/golden", root && *root ? root : ".");
    return sail__is_dir(dir) ? dir : NULL;
}

#define GOLDEN_OR_SKIP()                                                                                               \
    do {                                                                                                               \
        if (!golden_dir()) {                                                                                           \
            print_message("skipped: no recorded numbers (set SAIL_GOLDEN, or put shared/golden beside the checkout)\n"); \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* Something beside the golden directory (models, data): "../models/x". Static buffer; NULL when it is not there. */
GOLDEN_UNUSED static const char *golden_path(const char *relative)
{
    static char paths[8][4096];
    static int next;
    char *path = paths[next++ % 8];
    if (!golden_dir())
        return NULL;
    snprintf(path, sizeof paths[0], "%s/%s", golden_dir(), relative);
    return sail__file_exists(path) || sail__is_dir(path) ? path : NULL;
}

typedef struct golden_file {
    sail_arena *arena;
    sail_mapping map;
    sail_node *header; /* the file's map of tensors, or the whole JSON file */
    const unsigned char *data;
    const char *name;
} golden_file;

typedef struct golden_tensor {
    const char *name, *dtype; /* as in the file: "F32", "I64", … */
    int rank;
    int64_t shape[8];
    size_t n; /* elements */
    const unsigned char *raw;
    size_t bytes;
} golden_tensor;

GOLDEN_UNUSED static void golden_close(golden_file *f)
{
    sail__file_unmap(&f->map);
    sail__arena_free(f->arena);
    *f = (golden_file){0};
}

/* A safetensors file, `relative` to the golden directory (or absolute). */
GOLDEN_UNUSED static void golden_open(golden_file *f, const char *relative)
{
    sail_err err = {0};
    *f = (golden_file){.arena = sail__arena_new(), .name = relative};
    assert_non_null(f->arena);
    const char *path = sail__path_join(f->arena, golden_dir(), relative);
    if (sail__file_map(path, &f->map, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    uint64_t n = 0;
    assert_true(f->map.size >= 8);
    memcpy(&n, f->map.data, 8);
    assert_true(n <= f->map.size - 8);
    if (sail__json_parse(f->arena, (const char *)f->map.data + 8, (size_t)n, relative, 0, &f->header, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    f->data = f->map.data + 8 + n;
}

GOLDEN_UNUSED static bool golden_has(const golden_file *f, const char *name)
{
    return sail__node_get(f->header, name) != NULL;
}

GOLDEN_UNUSED static golden_tensor golden_get(const golden_file *f, const char *name)
{
    static const struct {
        const char *name;
        size_t bytes;
    } types[] = {{"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"U8", 1}, {"BOOL", 1}};
    golden_tensor t = {.name = name, .n = 1};
    const sail_node *e = sail__node_get(f->header, name);
    if (!e)
        fail_msg("%s: no tensor %s", f->name, name);
    const sail_node *shape = sail__node_get(e, "shape"), *offsets = sail__node_get(e, "data_offsets");
    assert_non_null(shape);
    assert_non_null(offsets);
    t.dtype = sail__node_get(e, "dtype")->string.data;
    t.rank = (int)shape->list.n;
    assert_true(t.rank <= 8);
    for (int i = 0; i < t.rank; i++) {
        t.shape[i] = shape->list.items[i]->integer;
        t.n *= (size_t)t.shape[i];
    }
    size_t begin = (size_t)offsets->list.items[0]->integer, end = (size_t)offsets->list.items[1]->integer;
    size_t room = f->map.size - (size_t)(f->data - f->map.data), size = 0;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, t.dtype) == 0)
            size = types[i].bytes;
    if (!size || begin > end || end > room || end - begin != t.n * size)
        fail_msg("%s: tensor %s is damaged", f->name, name);
    t.raw = f->data + begin;
    t.bytes = end - begin;
    return t;
}

GOLDEN_UNUSED static double golden_element(const golden_tensor *t, size_t i)
{
    double d;
    float s;
    int64_t l;
    int32_t w;
    uint16_t h;
    sail_dtype type;
    if (strcmp(t->dtype, "F64") == 0)
        return memcpy(&d, t->raw + 8 * i, 8), d;
    if (strcmp(t->dtype, "F32") == 0)
        return memcpy(&s, t->raw + 4 * i, 4), s;
    if (strcmp(t->dtype, "I64") == 0)
        return memcpy(&l, t->raw + 8 * i, 8), (double)l;
    if (strcmp(t->dtype, "I32") == 0)
        return memcpy(&w, t->raw + 4 * i, 4), w;
    if (strcmp(t->dtype, "U8") == 0 || strcmp(t->dtype, "BOOL") == 0)
        return t->raw[i];
    assert_true(sail_dtype_parse(t->dtype, &type));
    memcpy(&h, t->raw + 2 * i, 2);
    assert_int_equal(sail_to_f32(type, &h, &s, 1, NULL), SAIL_OK);
    return s;
}

/* Values as double, float or int64, whatever the stored type; *n (may be NULL) gets how many. */
GOLDEN_UNUSED static double *golden_doubles(const golden_file *f, const char *name, size_t *n)
{
    golden_tensor t = golden_get(f, name);
    double *out = sail__arena_array(f->arena, t.n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < t.n; i++)
        out[i] = golden_element(&t, i);
    if (n)
        *n = t.n;
    return out;
}

GOLDEN_UNUSED static float *golden_floats(const golden_file *f, const char *name, size_t *n)
{
    golden_tensor t = golden_get(f, name);
    float *out = sail__arena_array(f->arena, t.n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < t.n; i++)
        out[i] = (float)golden_element(&t, i);
    if (n)
        *n = t.n;
    return out;
}

GOLDEN_UNUSED static int64_t *golden_ints(const golden_file *f, const char *name, size_t *n)
{
    golden_tensor t = golden_get(f, name);
    int64_t *out = sail__arena_array(f->arena, t.n, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < t.n; i++) {
        if (strcmp(t.dtype, "I64") == 0)
            memcpy(&out[i], t.raw + 8 * i, 8); /* not through a double: all 64 bits */
        else
            out[i] = (int64_t)golden_element(&t, i);
    }
    if (n)
        *n = t.n;
    return out;
}

GOLDEN_UNUSED static double golden_scalar(const golden_file *f, const char *name)
{
    golden_tensor t = golden_get(f, name);
    assert_int_equal(t.n, 1);
    return golden_element(&t, 0);
}

/* A JSON file; f->header is its root. */
GOLDEN_UNUSED static sail_node *golden_json(golden_file *f, const char *relative)
{
    sail_err err = {0};
    *f = (golden_file){.arena = sail__arena_new(), .name = relative};
    assert_non_null(f->arena);
    if (sail__json_read(f->arena, sail__path_join(f->arena, golden_dir(), relative), (size_t)1 << 30, &f->header, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return f->header;
}

/* The largest |a - b|; infinities of one sign are equal, NaN is infinitely far from everything. */
GOLDEN_UNUSED static double golden_largest(const double *a, const double *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = a[i] == b[i] ? 0 : a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
        if (!(d <= most))
            most = d == d ? d : 1.0 / 0.0;
    }
    return most;
}

#endif
