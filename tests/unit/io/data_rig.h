/* data_rig.h - a data file written, and read by a reader's name.
 *
 * Header only, for the tests of data readers. */
#ifndef SAIL_TEST_DATA_RIG_H
#define SAIL_TEST_DATA_RIG_H

#include <math.h>
#include <unistd.h>

#include <zlib.h>

#include "../../golden.h"
#include "io/data.h"

static sail_ctx *ctx;
static char dir[] = "/tmp/sail-data-XXXXXX";

GOLDEN_UNUSED static int setup(void **state)
{
    (void)state;
    ctx = sail_ctx_new();
    return !ctx || !mkdtemp(dir);
}

GOLDEN_UNUSED static int teardown(void **state)
{
    (void)state;
    sail_err err;
    sail__remove_tree(dir, &err);
    sail_ctx_free(ctx);
    return 0;
}

/* ---- a file, read ---- */

GOLDEN_UNUSED static const char *write_file(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    sail_err err = {0};
    size_t n = strlen(name);
    if (n > 3 && strcmp(name + n - 3, ".gz") == 0) {
        gzFile f = gzopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(gzwrite(f, text, (unsigned)strlen(text)), (int)strlen(text));
        assert_int_equal(gzclose(f), Z_OK);
    } else {
        assert_int_equal(sail__file_write(path, text, strlen(text), &err), SAIL_OK);
    }
    return path;
}

GOLDEN_UNUSED static sail_slot reader_named(sail_arena *a, const char *name)
{
    sail_problems problems = {.arena = a};
    sail_slot slot = {0};
    sail_node *node = sail__node_string(a, name, "test");
    sail_err err = {0};
    if (*name == '{' && sail__json_parse(a, name, strlen(name), "test", 1, &node, &err) != SAIL_OK) /* with options */
        fail_msg("%s", err.message);
    if (!sail__slot_parse(ctx, a, SAIL_KIND_DATASET, node, "data.reader", NULL, NULL, &slot, &problems))
        fail_msg("%s", problems.n ? problems.items[0].message : "no reader");
    return slot;
}

GOLDEN_UNUSED static sail_code load(const char *reader, const char *path, sail__data_options o, const sail__encode_options *e,
                      sail__rows *rows, sail_err *err)
{
    static sail_arena *a; /* options outlive the rows; freed with the next */
    sail__arena_free(a);
    a = sail__arena_new();
    static sail_slot slot;
    slot = reader_named(a, reader);
    const char **paths = sail__arena_array(a, 1, sizeof *paths);
    paths[0] = sail__arena_strdup(a, path);
    o.paths = paths;
    o.n_paths = 1;
    o.reader = &slot;
    *err = (sail_err){0};
    return sail__rows_load(&o, e, rows, err);
}

GOLDEN_UNUSED static sail__rows read_text_with(const char *reader, const char *name, const char *text, sail__data_options o)
{
    sail__rows rows;
    sail_err err;
    if (load(reader, write_file(name, text), o, NULL, &rows, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return rows;
}

GOLDEN_UNUSED static sail__rows read_text(const char *reader, const char *name, const char *text)
{
    return read_text_with(reader, name, text, (sail__data_options){0});
}

GOLDEN_UNUSED static void fails(const char *reader, const char *name, const char *text, sail_code code, const char *const *words)
{
    sail__rows rows;
    sail_err err;
    assert_int_equal(load(reader, write_file(name, text), (sail__data_options){0}, NULL, &rows, &err), code);
    for (; *words; words++)
        if (!strstr(err.message, *words))
            fail_msg("no '%s' in: %s", *words, err.message);
}
#define FAILS(reader, name, text, code, ...) fails(reader, name, text, code, (const char *const[]){__VA_ARGS__, NULL})

GOLDEN_UNUSED static int64_t dropped(const sail__rows *r, const char *reason)
{
    for (size_t i = 0; i < r->drops.n; i++)
        if (strcmp(r->drops.items[i].reason, reason) == 0)
            return r->drops.items[i].n;
    return 0;
}

GOLDEN_UNUSED static void expect_messages(const sail__part *p, const char *const *role_content, size_t n)
{
    assert_int_equal(p->n_messages, n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(p->messages[i].role, role_content[2 * i]);
        assert_string_equal(p->messages[i].content, role_content[2 * i + 1]);
    }
}
#define MESSAGES(part, n, ...) expect_messages(part, (const char *const[]){__VA_ARGS__}, n)

#endif
