/* forest.h - a batch: a forest of segments of tokens, packed into rows.
 *
 * Floor: nn. Threads: one. Ownership: a forest owns its arrays; they stay valid until the next add or reset.
 *
 * A segment is a run of tokens with an optional parent; it attends to its ancestors and, causally, to itself. A preference
 * pair is one prompt segment with two children, a packed fine-tuning batch is roots only, a decoding step appends to
 * cached ancestors. There is no padding, and a shared prompt is computed once.
 *
 * Segments are added in depth-first order: the parent of a new segment is on the path from the last one to its root. */
#ifndef SAIL_FOREST_H
#define SAIL_FOREST_H

#include "../base/base.h"

enum sail__forest_head {
    SAIL__HEAD_NONE,  /* no position of the segment is scored */
    SAIL__HEAD_EACH,  /* every token of the segment that has a predecessor is a target: log p(token | before) */
    SAIL__HEAD_NEXT,  /* every position predicts its successor inside the segment; the last one has no target (-1) */
    SAIL__HEAD_LAST,  /* the last position only, without a target (sampling, score heads) */
};

enum { SAIL__TILE = 64, SAIL__SEGMENT_FIELDS = 8, SAIL__RANGE_FIELDS = 4, SAIL__TILE_FIELDS = 4 };

typedef struct sail__forest {
    int64_t n_tokens, n_rows, n_segments, n_ranges, n_tiles, n_keys; /* n_keys: rows of the key space */
    int32_t *ids, *positions; /* [n_tokens] */
    int32_t *slots;           /* [n_tokens]: cache row of each token; row itself in training */
    int32_t *dropout_keys;    /* [n_tokens][2] */
    int32_t *segments, *ranges, *tiles; /* as graph.h describes */
    int32_t *rows, *targets;            /* [n_rows]: what the head sees */
    int32_t *row_dropout_keys;          /* [n_rows][2]: dropout_keys of rows, for what follows the gathering */
    int32_t *first_row;                 /* [n_segments + 1]: the segment's first entry in rows */
    size_t cap_tokens, cap_rows, cap_segments, cap_ranges, cap_tiles;
    bool cached; /* keys are rows of a cache: ranges were given, not derived */
} sail__forest;

void sail__forest_free(sail__forest *f);
void sail__forest_reset(sail__forest *f);

/* Add n >= 1 tokens below `parent` (a segment's number, -1: a root). dropout_key tells apart what dropout must (step, pair,
 * response). Returns the segment's number in *segment (may be NULL). */
sail_code sail__forest_add(sail__forest *f, int parent, const int32_t *ids, int64_t n, enum sail__forest_head head,
                           int32_t dropout_key, int *segment, sail_err *err);

/* One more row for the head, of the segment added last. */
sail_code sail__forest_add_row(sail__forest *f, int32_t row, int32_t target, sail_err *err);

/* A root whose earlier keys lie in a cache: tokens at positions position.. ; their keys go to cache rows slots[n]; `runs`
 * [n_runs][3] = first cache row, keys, position of the first, covering everything before and the tokens themselves, in
 * order of position. copies: how often the rows that the head sees are repeated (a prompt with several children).
 * n_keys must be set to the cache's rows by the caller. */
sail_code sail__forest_add_cached(sail__forest *f, const int32_t *ids, int64_t n, int64_t position, const int32_t *slots,
                                  const int32_t *runs, int64_t n_runs, enum sail__forest_head head, int copies,
                                  sail_err *err);

#endif
