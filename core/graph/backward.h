/* backward.h - the parts of a derivative: the walk (backward.c), over the rules of single ops (derivative.c), over the
 * gradients as they are collected (adjoint.c).
 *
 * Floor: graph. Everything is sticky: after an error in the graph the functions do nothing. */
#ifndef SAIL_BACKWARD_H
#define SAIL_BACKWARD_H

#include "nodes.h"

typedef struct back_value {
    sail_value grad;    /* its gradient so far (bases that are no parameters) */
    sail_value columns; /* the matrix that the gradients of its views are columns of */
    sail_value target;  /* parameters: the caller's gradient */
    sail_value again;   /* what recomputation made of it */
    sail_value cast;    /* of a gradient: the same in another dtype */
    bool needed;        /* a wanted parameter is among what it is made of */
    bool written, kept; /* views: columns has its gradient; bases: read outside their block */
} back_value;

typedef struct back {
    sail_graph *g;
    int forward;  /* nodes before the derivative */
    size_t count; /* values before it */
    back_value *values, nothing;
    size_t n_values, cap_values;
} back;

/* What the walk knows of v; valid until the graph grows. */
back_value *sail__back_entry(back *b, sail_value v);
const sail_value_entry *sail__back_value(const back *b, sail_value v);
/* Add a node; its index, or -1. into: as in sail__graph_node. */
int sail__back_emit(back *b, sail_op op, const sail_attr *attr, const sail_value *in, int n, const sail_value *into);

/* Is the gradient of v wanted? False for SAIL_NONE. */
bool sail__back_needs(back *b, sail_value v);
/* The forward value, or what its block computed again. */
sail_value sail__back_read(back *b, sail_value v);
/* The gradient of a node's output, whole; SAIL_NONE: it has none. */
sail_value sail__back_gradient(back *b, sail_value v);
sail_value sail__back_cast(back *b, sail_value v, sail_dtype t);

/* Add g (any float dtype) to the gradient of v. */
void sail__back_pass(back *b, sail_value v, sail_value g);
/* Add the output of an op to the gradient of v. `fuse`: the operand that is added to the output (a residual), -1: none. The
 * output's dtype is set in the attributes. */
void sail__back_op(back *b, sail_value v, sail_op op, const sail_attr *attr, const sail_value *in, int n, int fuse);
/* Add the outputs of one op to the gradients of to[0..n_to). */
void sail__back_many(back *b, const sail_value *to, int n_to, sail_op op, const sail_attr *attr, const sail_value *in,
                     int n);
/* HEAD_BACK: its first output to x; the others, if wanted, accumulated for the parameters w and bias (SAIL_NONE: there is none). */
void sail__back_head(back *b, sail_value x, sail_value w, sail_value bias, const sail_attr *attr, const sail_value *in, int n);

/* Add a node's gradients to those of its operands. */
void sail__derivative(back *b, const sail_node_entry *n);

#endif
