/* long_rope.c - which form of the rotary factors each token of a forest has. */
#include "long_rope.h"

enum { DEEPEST = 64 };

/* The path to the segment added last: of the forest given (old) and of the one that is made. */
typedef struct path {
    int old[DEEPEST], made[DEEPEST];
    bool is_long[DEEPEST];
    int n;
} path;

int64_t sail__short_length(const sail__model_config *c)
{
    return c->ropes[0].kind == SAIL__ROPE_LONGROPE ? c->ropes[0].original_length : 0;
}

void sail__forest_long_form(sail__forest *f, int64_t first, int64_t positions)
{
    for (int64_t i = first; i < f->n_tokens; i++)
        f->positions[i] += (int32_t)positions;
}

static const int32_t *segment(const sail__forest *f, int i) { return f->segments + SAIL__SEGMENT_FIELDS * i; }

/* Whether segment i has no children: the next one, if any, lies elsewhere. */
static bool is_leaf(const sail__forest *f, int i) { return i + 1 >= f->n_segments || segment(f, i + 1)[3] != i; }

/* Head rows of segment i of f, which is segment made of out: tokens of its own, or its parent's last. */
static sail_code copy_rows(const sail__forest *f, int i, int parent_made, int made, sail__forest *out, sail_err *err)
{
    const int32_t *from = segment(f, i), *to = segment(out, made);
    for (int32_t r = f->first_row[i]; r < f->first_row[i + 1]; r++) {
        int32_t row = f->rows[r] - from[0] + to[0];
        if (f->rows[r] < from[0])
            row = f->rows[r] - segment(f, from[3])[0] + segment(out, parent_made)[0];
        SAIL_TRY(sail__forest_add_row(out, row, f->targets[r], err));
    }
    return SAIL_OK;
}

/* Segment i below the path's first `depth` ones, in this form; its head rows only the first time. */
static sail_code add(const sail__forest *f, int i, int depth, bool is_long, int64_t positions, bool *seen, path *p, sail__forest *out, sail_err *err)
{
    const int32_t *s = segment(f, i);
    const int parent = depth ? p->made[depth - 1] : -1;
    const int64_t first = out->n_tokens;
    SAIL_TRY(sail__forest_add(out, parent, f->ids + s[0], s[1], SAIL__HEAD_NONE, f->dropout_keys[2 * s[0]], &p->made[depth], err));
    if (is_long)
        sail__forest_long_form(out, first, positions);
    if (!seen[i])
        SAIL_TRY(copy_rows(f, i, parent, p->made[depth], out, err));
    seen[i] = true;
    p->old[depth] = i;
    p->is_long[depth] = is_long;
    p->n = depth + 1;
    return SAIL_OK;
}

static sail_code add_leaf(const sail__forest *f, int leaf, int64_t short_length, int64_t positions, bool *seen, path *p, sail__forest *out,
                          sail_err *err)
{
    int line[DEEPEST], n = 0;
    for (int i = leaf; i >= 0; i = segment(f, i)[3]) {
        if (n == DEEPEST)
            return sail_fail(err, SAIL_E_LIMIT, "a forest of more than %d segments in depth", DEEPEST);
        line[n++] = i;
    }
    const bool is_long = (int64_t)segment(f, leaf)[2] + segment(f, leaf)[1] > short_length;
    int depth = 0;
    while (depth < n && depth < p->n && p->old[depth] == line[n - 1 - depth] && p->is_long[depth] == is_long)
        depth++;
    for (; depth < n; depth++)
        SAIL_TRY(add(f, line[n - 1 - depth], depth, is_long, positions, seen, p, out, err));
    return SAIL_OK;
}

sail_code sail__forest_forms(const sail__forest *f, int64_t short_length, int64_t positions, sail__forest *out, sail_err *err)
{
    path p = {.n = 0};
    sail__forest_reset(out);
    bool *seen = sail__calloc((size_t)f->n_segments + 1, sizeof *seen);
    if (!seen)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a batch of %lld segments", (long long)f->n_segments);
    sail_code code = SAIL_OK;
    for (int i = 0; i < f->n_segments && code == SAIL_OK; i++)
        if (is_leaf(f, i))
            code = add_leaf(f, i, short_length, positions, seen, &p, out, err);
    sail__free(seen);
    return code;
}
