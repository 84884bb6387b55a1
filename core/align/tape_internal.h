/* tape_internal.h - a tape from inside: shared by the files of the tape, and by check.c.
 *
 * Floor: align. A node owns its value and its derivative, which live in the tape's arena; nodes are in topological
 * order, since an operator can only name values that exist. */
#ifndef SAIL_TAPE_INTERNAL_H
#define SAIL_TAPE_INTERNAL_H

#include "../base/base.h"
#include "../sail/tape.h"

typedef struct sail__tape_node sail__tape_node;
typedef void sail__tape_back(sail_tape *t, const sail__tape_node *n);

/* How many responses of a pair the preference is about. */
static inline int sail__layout_compared(const sail_layout *l, int64_t pair)
{
    return l->compared ? l->compared[pair] : (int)(l->response_of_pair[pair + 1] - l->response_of_pair[pair]);
}

/* What a value is to a step that is cut into parts, each with a tape of its own. */
typedef enum sail__mix {
    SAIL__MIX_NONE,    /* of a pair alone, or a number */
    SAIL__MIX_SUM,     /* a sum over pairs: the parts' add up to the step's */
    SAIL__MIX_COUPLED, /* of several pairs, and the parts' do not add up */
} sail__mix;

struct sail__tape_node {
    sail_domain domain;
    bool needs;   /* a leaf lies below: derivatives flow through here */
    sail__mix mix;
    int32_t a, b; /* operands; -1: none */
    int64_t n;
    double *value, *grad;
    sail__tape_back *back; /* adds this node's derivative to its operands'; NULL: leaf or constant */
    int row;               /* of the operator's table */
    double p, q;           /* parameters of the operator */
    const int64_t *index;  /* gather, scatter, sort */
    const uint8_t *mask;   /* select */
};

/* What sail_detach gave, in order: taken down, or given again whatever its operand is now. So a loss can be differenced as
 * its derivative is meant, with what is detached held still. */
typedef struct sail__frozen {
    double *values;
    size_t n, cap, next;
    bool replay, failed;
} sail__frozen;

struct sail_tape {
    sail_arena *arena;
    sail__tape_node *nodes;
    size_t n, cap;
    const sail_layout *layout;
    double *zeros; /* what a value that does not exist reads as: as long as the longest domain */
    sail_err err;
    bool read;            /* numbers of several pairs were taken off the tape */
    sail__frozen *frozen; /* NULL: detach is an operator like the others */
};

sail__tape_node *sail__tape_at(const sail_tape *t, sail_var v);      /* NULL for a value that does not exist */
int64_t sail__tape_domain_length(const sail_tape *t, sail_domain d); /* -1: any, or the tape has no layout */
const char *sail__tape_domain_name(sail_domain d);

/* A new node of domain d and length n with operands a and b ({-1}: none); zero values and derivative. NULL: the tape
 * has failed, *out is {-1} then. Its mix is that of an operator that is not linear. The pointer is valid until the next node is made. */
sail__tape_node *sail__tape_push(sail_tape *t, sail_domain d, int64_t n, sail_var a, sail_var b, sail__tape_back *back,
                                 sail_var *out);

#endif
