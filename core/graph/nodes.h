/* nodes.h - what a graph is made of, and the memory plan.
 *
 * Floor: graph. A value is a node's output, an input, a parameter, or a view of another's columns. `base` is the value
 * whose memory it is in (itself for all but views), so that everything about memory is asked of the base. */
#ifndef SAIL_NODES_H
#define SAIL_NODES_H

#include "../base/base.h"
#include "ops.h"

typedef enum sail_source { SAIL_FROM_NODE, SAIL_FROM_INPUT, SAIL_FROM_PARAM } sail_source;

typedef struct sail_value_entry {
    sail_shape shape;
    const char *name;   /* may be NULL */
    sail_source source; /* of the base */
    int32_t node;       /* that made it; -1: none */
    int slot;           /* input slot or param index */
    bool trainable, is_output;
    int output_slot;
    sail_value base;
    int64_t first; /* column of the base */
} sail_value_entry;

typedef struct sail_node_entry {
    sail_op op;
    int n_in, n_out, block;
    sail_attr attr;
    sail_value in[SAIL_MAX_INPUTS], out[SAIL_MAX_OUTPUTS]; /* SAIL_NONE: absent */
} sail_node_entry;

struct sail_graph {
    sail_arena *arena;
    sail_value_entry *values;
    sail_node_entry *nodes;
    size_t n_values, cap_values, n_nodes, cap_nodes;
    int forward; /* nodes before the derivative; -1: there is none */
    int block;
    sail_err err; /* the first */
};

/* Add a value or node; SAIL_NONE with the graph's error set on failure. */
sail_value sail__graph_value(sail_graph *g, const sail_value_entry *v);
/* Like sail_graph_add with a place for every output: into[i] is SAIL_NONE or a value of the output's shape. The outputs'
 * values are left in the node: out[i] is into[i] itself where that was given. */
sail_node_entry *sail__graph_node(sail_graph *g, sail_op op, const sail_attr *attr, const sail_value *in, int n_in,
                                  const sail_value *into);
void sail__graph_fail(sail_graph *g, sail_code code, const char *fmt, ...) SAIL_PRINTF(3, 4);
/* A name for messages: the value's own, or that of the op that made it. */
const char *sail__value_label(const sail_graph *g, sail_value v, char buffer[64]);
/* rows in a run: the number itself, or the symbol's */
static inline int64_t sail__resolve(int64_t rows, const sail_dims *dims)
{
    return rows < 0 && rows >= SAIL_DIM_LEAST ? dims->n[-rows] : rows;
}

/* ---- memory plan ---- */
/* Which values share memory, and when it is in use: does not depend on sizes. */
typedef struct sail_storage {
    int first, last;         /* nodes between which it is in use, both included */
    int64_t rows, row_bytes; /* rows may be a symbol */
} sail_storage;
typedef struct sail_layout {
    sail_storage *storages;
    int n_storages;
    int32_t *of; /* value to storage of its base; -1: not ours (inputs, params) */
} sail_layout;
/* In the arena. */
sail_code sail__layout_make(const sail_graph *g, sail_arena *a, sail_layout *out, sail_err *err);

typedef struct sail_place {
    int32_t arena; /* which piece of device memory */
    uint64_t offset, bytes;
} sail_place;
/* Give every storage a place so that none overlap while both are in use. Arenas are at most `largest` bytes. places has
 * room for the storages; arena_bytes for `most` arenas, *n_arenas of them are used. */
sail_code sail__plan_make(const sail_layout *l, const sail_dims *dims, uint64_t alignment, uint64_t largest,
                          sail_place *places, uint64_t *arena_bytes, int most, int *n_arenas, sail_err *err);

#endif
