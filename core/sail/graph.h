/* graph.h - computations as lists of ops over matrices, with derivatives built from the same ops.
 *
 * Floor: graph. Threads: a graph is built on one thread and then constant. A graph is built once for a role (policy,
 * score, prefill, decode); its row counts are symbols, bound to numbers at each run.
 *
 * Building never fails loudly: a wrong call leaves a first, sticky error in the graph and returns SAIL_NONE, so that a
 * layer reads as a formula; ask sail_graph_status at the end. */
#ifndef SAIL_GRAPH_H
#define SAIL_GRAPH_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sail_op {
#define OP(NAME, name, least, most, outputs) SAIL_OP_##NAME,
#include "ops.def"
#undef OP
    SAIL_OP_COUNT
} sail_op;

const char *sail_op_name(sail_op op);

enum { SAIL_MAX_INPUTS = 10, SAIL_MAX_OUTPUTS = 4 };

typedef enum sail_activation { SAIL_ACT_SILU, SAIL_ACT_GELU, SAIL_ACT_GELU_TANH, SAIL_ACT_RELU } sail_activation;
enum { SAIL_WANT_ENTROPY = 1, SAIL_WANT_LSS = 2, SAIL_WANT_DW = 4, SAIL_WANT_DB = 8 };

/* Attributes; an op reads only those that ops.def names, the rest is 0. */
typedef struct sail_attr {
    sail_dtype dtype; /* of the first output, where it can be chosen */
    int32_t heads, kv_heads, head_dim, rotary, groups, window, activation, want, layer;
    bool trans_a, trans_b, accumulate, inverse;
    float scale, eps, softcap, weight_plus;
    float p;             /* dropout */
    uint64_t seed;       /* dropout */
    float beta1, beta2, adam_eps, weight_decay, momentum, dampening; /* optimisers; RMSprop's alpha is beta1 */
    bool centered;
} sail_attr;

/* Row counts known only at run time. */
typedef enum sail_dim {
    SAIL_DIM_TOKENS = -1,   /* rows of the batch */
    SAIL_DIM_ROWS = -2,     /* rows that the head sees */
    SAIL_DIM_SEGMENTS = -3, /* rows of the forest's tables … */
    SAIL_DIM_RANGES = -4,
    SAIL_DIM_TILES = -5,
    SAIL_DIM_KEYS = -6, /* rows of the key space */
    SAIL_DIM_SEQS = -7, /* sequences that sample a token */
    SAIL_DIM_HISTORY = -8,
    SAIL_DIM_LEAST = -8
} sail_dim;

/* Sizes of the symbols in one run: n[-symbol]. */
typedef struct sail_dims {
    int64_t n[1 - SAIL_DIM_LEAST];
} sail_dims;

/* The forest's tables, int32, shared by ATTENTION and the key/value cache.
 *   segments[c]: first query row, number of rows, position of the first row, parent (-1), end of the subtree's rows
 *                (rows are packed in depth-first order, so a segment and all its descendants are contiguous), first range,
 *                number of ranges, 0
 *   ranges[a]:   first key row, number of keys, position of the first key, 0. A segment's ranges are its ancestors' keys
 *                from the root down, then its own. A query at position p sees the keys of its segment's ranges whose
 *                position is <= p and > p - window.
 *   tiles[b]:    segment, first query row, number of rows (1..64), position of the first row. Every query row is in one
 *                tile; a tile lies in one segment. */

typedef struct sail_graph sail_graph;
typedef int32_t sail_value; /* an output of a node, an input or a parameter of its graph */
#define SAIL_NONE (-1)

sail_graph *sail_graph_new(void); /* NULL when out of memory */
void sail_graph_free(sail_graph *g);
sail_code sail_graph_status(const sail_graph *g, sail_err *err);

/* A matrix given at each run by its slot (a small number of the caller's). rows may be a symbol. */
sail_value sail_graph_input(sail_graph *g, const char *name, int slot, sail_dtype t, int64_t rows, int64_t cols);

/* A matrix that persists between runs, bound at each run by its index (a parameter, a gradient, a cache). */
sail_value sail_graph_param(sail_graph *g, const char *name, int index, sail_dtype t, int64_t rows, int64_t cols,
                            bool trainable);

/* Add a node; returns its first output, the others are consecutive. in[i] may be SAIL_NONE for an absent optional
 * operand. The shape rule of the op checks everything and names the operand that is wrong. An in-place op's output is
 * the operand it changes (the same value). `into` (SAIL_NONE: a new value) is where output 0 goes, and what is returned: a
 * param, or columns of one. Nothing is filled in: scale is to be 1 where nothing
 * is scaled (MATMUL, EMBED, ATTENTION and HEAD refuse 0). */
sail_value sail_graph_add(sail_graph *g, sail_op op, const sail_attr *attr, const sail_value *in, int n_in,
                          sail_value into);

/* Columns [first, first + count) of x: a view, nothing is copied. */
sail_value sail_graph_columns(sail_graph *g, sail_value x, int64_t first, int64_t count);

/* Nodes added between begin and end belong to block b: with recomputation on, their values are not kept for the
 * backward pass but computed again from the block's inputs. */
void sail_graph_block(sail_graph *g, int block); /* -1: none */

/* Mark values that the caller reads after a run: they are kept to its end. */
void sail_graph_output(sail_graph *g, sail_value v, int slot);

/* Append the derivative: seeds[i] is a value holding d loss / d of outputs[i]. For every trainable param p that is
 * reached, gradient values are accumulated into the param whose value is grad_of(user, p) (SAIL_NONE: not wanted, and
 * nothing is built for it). Such a param is f32, of p's shape, not trainable; two parameters may share one.
 * recompute: run the blocks' nodes again instead of keeping what they made. Nothing can be added afterwards. */
sail_code sail_graph_backward(sail_graph *g, const sail_value *outputs, const sail_value *seeds, int n,
                              sail_value (*grad_of)(void *user, sail_value param), void *user, bool recompute,
                              sail_err *err);

/* Facts for planning and reports. */
typedef struct sail_value_info {
    const char *name;
    sail_dtype dtype;
    int64_t rows, cols; /* rows may be a symbol */
    bool is_param, is_input, is_output, trainable;
    int slot; /* param index, input or output slot */
} sail_value_info;
int sail_graph_nodes(const sail_graph *g);
int sail_graph_forward_nodes(const sail_graph *g); /* nodes before the derivative was appended */
void sail_graph_value_info(const sail_graph *g, sail_value v, sail_value_info *out);
void sail_graph_print(const sail_graph *g, const sail_dims *dims, void (*line)(void *user, const char *text), void *user);
/* A forest on the host: its tables' rows as above. */
typedef struct sail_forest_tables {
    const int32_t *segments, *ranges;
    int64_t n_segments;
} sail_forest_tables;

/* How many keys all queries see together. window 0: none. */
double sail_forest_pairs(const sail_forest_tables *f, int64_t window);

/* Nodes [first, last). Multiply-adds count 2; bytes: every operand read or written once. Attention counts the pairs of a query
 * and a key that it sees; where the forest is not known (NULL), all pairs, half of them where the keys are the rows: a forest
 * has fewer than that, never more. */
void sail_graph_count(const sail_graph *g, const sail_dims *dims, const sail_forest_tables *forest, int first, int last,
                      double *flops, double *bytes);

/* One op with its operands resolved. Absent operands have buffer NULL. Outputs never overlap inputs, except for ops
 * that work in place (output 0 is then the same view as the operand) and elementwise ops, whose output may be
 * exactly the same view as an input of the same dtype. */
typedef struct sail_call {
    sail_op op;
    int n_in, n_out;
    sail_attr attr;
    sail_tensor in[SAIL_MAX_INPUTS], out[SAIL_MAX_OUTPUTS];
} sail_call;

/* Whether the call is what ops.def says: operands present, shapes and dtypes of inputs and outputs. The error names the op
 * and the operand. Backends may build `supports` on it. */
sail_code sail_call_check(const sail_call *call, sail_err *err);

#ifdef __cplusplus
}
#endif
#endif
