/* forest.c - packing segments into rows, and the tables that attention reads. */
#include "forest.h"

#include <string.h>

void sail__forest_free(sail__forest *f)
{
    sail__free(f->ids);
    sail__free(f->positions);
    sail__free(f->slots);
    sail__free(f->dropout_keys);
    sail__free(f->segments);
    sail__free(f->ranges);
    sail__free(f->tiles);
    sail__free(f->rows);
    sail__free(f->targets);
    sail__free(f->row_dropout_keys);
    sail__free(f->first_row);
    memset(f, 0, sizeof *f);
}

void sail__forest_reset(sail__forest *f)
{
    f->n_tokens = f->n_rows = f->n_segments = f->n_ranges = f->n_tiles = f->n_keys = 0;
    f->cached = false;
}

/* Several arrays that grow together: each keeps its own idea of the capacity, the smallest counts. */
static sail_code grow(void *items, size_t *cap, size_t shared, size_t need, size_t size, sail_err *err)
{
    *cap = shared;
    return sail__grow(items, cap, need, size, err);
}

static sail_code room(sail__forest *f, int64_t tokens, int64_t rows, int64_t ranges, int64_t tiles, sail_err *err)
{
    size_t t = (size_t)(f->n_tokens + tokens), r = (size_t)(f->n_rows + rows), cap = 0;
    if (t > INT32_MAX || r > INT32_MAX)
        return sail_fail(err, SAIL_E_LIMIT, "a batch of %zu tokens is too large: at most %d", t, INT32_MAX);
    SAIL_TRY(grow(&f->ids, &cap, f->cap_tokens, t, sizeof *f->ids, err));
    SAIL_TRY(grow(&f->positions, &cap, f->cap_tokens, t, sizeof *f->positions, err));
    SAIL_TRY(grow(&f->slots, &cap, f->cap_tokens, t, sizeof *f->slots, err));
    SAIL_TRY(grow(&f->dropout_keys, &cap, f->cap_tokens, t, 2 * sizeof *f->dropout_keys, err));
    f->cap_tokens = cap;
    SAIL_TRY(grow(&f->rows, &cap, f->cap_rows, r, sizeof *f->rows, err));
    SAIL_TRY(grow(&f->targets, &cap, f->cap_rows, r, sizeof *f->targets, err));
    SAIL_TRY(grow(&f->row_dropout_keys, &cap, f->cap_rows, r, 2 * sizeof *f->row_dropout_keys, err));
    f->cap_rows = cap;
    size_t s = (size_t)f->n_segments + 2;
    SAIL_TRY(grow(&f->segments, &cap, f->cap_segments, s, SAIL__SEGMENT_FIELDS * sizeof *f->segments, err));
    SAIL_TRY(grow(&f->first_row, &cap, f->cap_segments, s, sizeof *f->first_row, err));
    f->cap_segments = cap;
    SAIL_TRY(grow(&f->ranges, &f->cap_ranges, f->cap_ranges, (size_t)(f->n_ranges + ranges),
                  SAIL__RANGE_FIELDS * sizeof *f->ranges, err));
    return grow(&f->tiles, &f->cap_tiles, f->cap_tiles, (size_t)(f->n_tiles + tiles),
                SAIL__TILE_FIELDS * sizeof *f->tiles, err);
}

static int64_t head_rows(enum sail__forest_head head, int64_t n, bool has_parent)
{
    switch (head) {
    case SAIL__HEAD_EACH: return has_parent ? n : n - 1;
    case SAIL__HEAD_NEXT: return n;
    case SAIL__HEAD_LAST: return 1;
    case SAIL__HEAD_NONE: break;
    }
    return 0;
}

static void add_row(sail__forest *f, int32_t row, int32_t target)
{
    f->rows[f->n_rows] = row;
    f->targets[f->n_rows] = target;
    memcpy(f->row_dropout_keys + 2 * f->n_rows, f->dropout_keys + 2 * row, 2 * sizeof *f->dropout_keys);
    f->n_rows++;
}

static void add_rows(sail__forest *f, enum sail__forest_head head, const int32_t *ids, int64_t n, int64_t row0, int32_t before)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t row = (int32_t)(row0 + i), target = -1;
        if (head == SAIL__HEAD_EACH) {
            row = i ? row - 1 : before;
            target = ids[i];
        } else if (head == SAIL__HEAD_NEXT) {
            target = i + 1 < n ? ids[i + 1] : -1;
        } else if (head == SAIL__HEAD_NONE || i + 1 < n) {
            continue;
        }
        if (row < 0)
            continue;
        add_row(f, row, target);
    }
}

static void add_tiles(sail__forest *f, int32_t segment, int64_t row0, int64_t n, int64_t position)
{
    for (int64_t i = 0; i < n; i += SAIL__TILE) {
        int32_t *t = f->tiles + SAIL__TILE_FIELDS * f->n_tiles++;
        t[0] = segment;
        t[1] = (int32_t)(row0 + i);
        t[2] = (int32_t)(n - i < SAIL__TILE ? n - i : SAIL__TILE);
        t[3] = (int32_t)(position + i);
    }
}

static void add_range(sail__forest *f, int64_t row, int64_t keys, int64_t position)
{
    int32_t *r = f->ranges + SAIL__RANGE_FIELDS * f->n_ranges++;
    r[0] = (int32_t)row;
    r[1] = (int32_t)keys;
    r[2] = (int32_t)position;
    r[3] = 0;
}

static int32_t *begin_segment(sail__forest *f, int parent, int64_t n, int64_t position)
{
    int32_t *s = f->segments + SAIL__SEGMENT_FIELDS * f->n_segments;
    s[0] = (int32_t)f->n_tokens;
    s[1] = (int32_t)n;
    s[2] = (int32_t)position;
    s[3] = parent;
    s[4] = (int32_t)(f->n_tokens + n);
    s[5] = (int32_t)f->n_ranges;
    s[6] = s[7] = 0;
    f->first_row[f->n_segments] = (int32_t)f->n_rows;
    return s;
}

static void end_segment(sail__forest *f, int32_t *s, const int32_t *ids, int64_t n, enum sail__forest_head head, int32_t before,
                        int32_t dropout_key, const int32_t *slots)
{
    int64_t row0 = f->n_tokens, position = s[2];
    s[6] = (int32_t)f->n_ranges - s[5];
    memcpy(f->ids + row0, ids, (size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++) {
        f->positions[row0 + i] = (int32_t)(position + i);
        f->slots[row0 + i] = slots ? slots[i] : (int32_t)(row0 + i);
        f->dropout_keys[2 * (row0 + i)] = dropout_key;
        f->dropout_keys[2 * (row0 + i) + 1] = (int32_t)(position + i);
    }
    add_rows(f, head, ids, n, row0, before);
    add_tiles(f, (int32_t)f->n_segments, row0, n, position);
    f->n_tokens += n;
    f->n_segments++;
    f->first_row[f->n_segments] = (int32_t)f->n_rows;
}

sail_code sail__forest_add(sail__forest *f, int parent, const int32_t *ids, int64_t n, enum sail__forest_head head,
                           int32_t dropout_key, int *segment, sail_err *err)
{
    if (n < 1)
        return sail_fail(err, SAIL_E_ARG, "a segment needs at least one token");
    if (f->cached || parent < -1 || parent >= f->n_segments)
        return sail_fail(err, SAIL_E_BUG, "forest: wrong parent %d of %lld segments", parent, (long long)f->n_segments);
    int depth = 1;
    for (int p = parent; p >= 0; p = f->segments[SAIL__SEGMENT_FIELDS * p + 3])
        depth++;
    if (parent >= 0 && f->segments[SAIL__SEGMENT_FIELDS * parent + 4] != f->n_tokens)
        return sail_fail(err, SAIL_E_BUG, "forest: segments must be added in depth-first order");
    int64_t rows = head_rows(head, n, parent >= 0);
    SAIL_TRY(room(f, n, rows, depth, (n + SAIL__TILE - 1) / SAIL__TILE, err));
    const int32_t *p = parent >= 0 ? f->segments + SAIL__SEGMENT_FIELDS * parent : NULL;
    int64_t position = p ? (int64_t)p[2] + p[1] : 0;
    int32_t before = p ? p[0] + p[1] - 1 : -1;
    int32_t *s = begin_segment(f, parent, n, position);
    if (p) /* the ancestors' ranges, from the root down */
        for (int32_t i = 0; i < p[6]; i++) {
            const int32_t *r = f->ranges + SAIL__RANGE_FIELDS * (p[5] + i);
            add_range(f, r[0], r[1], r[2]);
        }
    add_range(f, f->n_tokens, n, position);
    for (int q = parent; q >= 0; q = f->segments[SAIL__SEGMENT_FIELDS * q + 3])
        f->segments[SAIL__SEGMENT_FIELDS * q + 4] = (int32_t)(f->n_tokens + n);
    if (segment)
        *segment = (int)f->n_segments;
    end_segment(f, s, ids, n, head, before, dropout_key, NULL);
    f->n_keys = f->n_tokens;
    return SAIL_OK;
}

sail_code sail__forest_add_row(sail__forest *f, int32_t row, int32_t target, sail_err *err)
{
    SAIL_TRY(room(f, 0, 1, 0, 0, err));
    add_row(f, row, target);
    f->first_row[f->n_segments] = (int32_t)f->n_rows;
    return SAIL_OK;
}

sail_code sail__forest_add_cached(sail__forest *f, const int32_t *ids, int64_t n, int64_t position, const int32_t *slots,
                                  const int32_t *runs, int64_t n_runs, enum sail__forest_head head, int copies,
                                  sail_err *err)
{
    if (n < 1 || n_runs < 1)
        return sail_fail(err, SAIL_E_ARG, "a segment needs at least one token");
    f->cached = true;
    SAIL_TRY(room(f, n, copies * head_rows(head, n, false), n_runs, (n + SAIL__TILE - 1) / SAIL__TILE, err));
    int32_t *s = begin_segment(f, -1, n, position);
    for (int64_t i = 0; i < n_runs; i++)
        add_range(f, runs[3 * i], runs[3 * i + 1], runs[3 * i + 2]);
    int64_t row0 = f->n_tokens;
    end_segment(f, s, ids, n, head, -1, 0, slots);
    for (int i = 1; i < copies; i++)
        add_rows(f, head, ids, n, row0, -1);
    f->first_row[f->n_segments] = (int32_t)f->n_rows;
    return SAIL_OK;
}
