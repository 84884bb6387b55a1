/* case.h - cases of ops: declared once, used for comparison, central differences and timing.
 *
 * A case is one call with its numbers. The functions of cases_*.c build cases and hand each to the suite, which runs
 * it. Numbers are float32 on the host and rounded to the operand's type on the way to a device. */
#ifndef CONFORMANCE_CASE_H
#define CONFORMANCE_CASE_H

#include "device.h"
#include "graph/ops.h"

typedef struct operand {
    bool present;
    sail_dtype t;
    int64_t rows, cols, pad; /* pad: unused elements between rows */
    int shift;               /* elements before the first, as in a column view */
    const float *f;          /* rows x cols; both NULL: nothing was written there yet */
    const int32_t *i;
    const unsigned char *blocks; /* of types that are only read: as they are stored; f has their values */
} operand;

/* An element may be off by 2 u |y| + (c sqrt(K) 2^-24 + c_act u_act) M, where u is the unit roundoff of the output's type,
 * u_act that of operand 0's, 0 if that is f32. M: */
typedef enum measure {
    EXACT,    /* nothing may be off */
    VALUE,    /* |y| */
    ROW,      /* largest in the row + 1% of the largest in the matrix */
    ABSOLUTE, /* what ref gives for the magnitudes of the operands in `magnitudes`: sum |a| |b| for a product */
    CONSTANT, /* the case's own figure */
    DERIVED,  /* none: 2 u |y| + the case's `limit` of the element (limits.c) */
} measure;

typedef struct bound {
    measure m;
    double c, c_act;
} bound;

typedef struct kase {
    char name[160];
    sail_op op;
    sail_attr attr;
    int n_in;
    operand in[SAIL_MAX_INPUTS];
    operand out[SAIL_MAX_OUTPUTS]; /* the suite fills in shapes; f: what is there before (accumulate) */
    int64_t out_rows, out_cols;    /* of an output that operands do not determine */
    sail_dtype out_dtype;
    int in_place; /* operand whose view output 0 takes, -1: none (ops that always work in place need not say) */
    bound bounds[SAIL_MAX_OUTPUTS];
    bound changed;       /* for operands that are changed beside output 0 */
    unsigned magnitudes; /* operands for ABSOLUTE */
    double k, constant;  /* K, and M of CONSTANT */
    const double *limit[SAIL_MAX_OUTPUTS]; /* of DERIVED, by element */
    unsigned differentiable; /* operands for central differences */
    bool bench;          /* for timing only: too large for ref */
} kase;

typedef struct suite suite;

/* A new case, zeroed, with scale 1 where the op reads it, and a name. */
kase *begin(suite *s, sail_op op, const char *fmt, ...) SAIL_PRINTF(3, 4);
/* Operand i: uniform numbers in [low, high), or ids in [low, high). */
void floats(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols, double low, double high);
void blocks(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols); /* random ones */
void ints(suite *s, int i, int64_t rows, int64_t cols, int64_t low, int64_t high);
void given_floats(suite *s, int i, int64_t rows, int64_t cols, const float *f);
void given_ints(suite *s, int i, int64_t rows, int64_t cols, const int32_t *p);
void empty(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols); /* of which only the shape counts */
float *uniform(suite *s, int64_t n, double low, double high);          /* lives as long as the case */
void *scratch(suite *s, size_t bytes);
void every_bound(kase *c, measure m, double factor, double act);
/* Operands and outputs as views of wider matrices. */
void spread(kase *c, int64_t pad, int shift);
/* Bounds from what is in the operands, element by element: limits.c. After all operands are there. */
void attention_limits(suite *s, kase *c);
void attention_back_limits(suite *s, kase *c);
void head_limits(suite *s, kase *c);
void head_back_limits(suite *s, kase *c);
/* Run it as it is. */
void emit(suite *s);

/* Sizes around which kernels change: 1, small, a tile and its neighbours, primes. */
extern const int64_t edges[];
extern const int n_edges;

void matmul_cases(suite *s);
void embed_cases(suite *s);
void elementwise_cases(suite *s);
void norm_cases(suite *s);
void attention_cases(suite *s);
void head_cases(suite *s);
void sample_cases(suite *s);
void optimiser_cases(suite *s);
void bench_cases(suite *s);

#endif
