/* ops.h - what is known of each op: names of its operands, shape rule, what it does in place, cost.
 *
 * Floor: graph. Threads: any; all functions are pure. */
#ifndef SAIL_OPS_H
#define SAIL_OPS_H

#include "../sail/graph.h"

/* An operand or output as a shape rule sees it. Rows may be symbols (negative): equal symbols are equal. */
typedef struct sail_shape {
    bool present;
    sail_dtype dtype;
    int64_t rows, cols;
} sail_shape;

/* Rows, columns or dtype that the operands do not determine: EMBED_GRAD's and FILL's outputs go where they are told. */
enum { SAIL_SHAPE_ANY = -1000 };

/* Check operands and attributes and give the outputs (out[SAIL_MAX_OUTPUTS]); *n_out is how many there are. */
sail_code sail__op_shape(sail_op op, const sail_attr *attr, const sail_shape *in, int n_in, sail_shape *out, int *n_out,
                         sail_err *err);

/* Name of operand i, "operand" if it has none. */
const char *sail__op_operand(sail_op op, int i, char buffer[32]);
/* The operand that output 0 is, -1: none. */
int sail__op_in_place(sail_op op);
/* Bit i: operand i is changed (output 0's operand, and an optimiser's moments and shadow). */
unsigned sail__op_changes(sail_op op);
/* May output 0 be the same view as operand i (of the same dtype and shape)? */
bool sail__op_elementwise(sail_op op, int i);
/* Is only the shape of operand i used? */
bool sail__op_shape_only(sail_op op, int i);
/* Multiply-adds count 2; sizes are resolved. Attention counts half of queries x keys where they are the same rows. */
double sail__op_flops(sail_op op, const sail_attr *attr, const sail_shape *in, const sail_shape *out);
double sail__attention_flops(sail_op op, double pairs, int64_t cols); /* cols: of the queries, all heads */

#endif
