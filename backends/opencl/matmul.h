/* matmul.h - the ways in which a matrix product can be made, and which of them a product takes.
 *
 * A way with its numbers is a plan. Products of one class (types, transposes, sizes within half an octave) take the same plan: the one
 * that was timed for the class, or the static choice. The table of choices is the device's; a class keeps what it once got, so that the
 * same run computes the same bits. */
#ifndef OCL_MATMUL_H
#define OCL_MATMUL_H

#include "opencl.h"

typedef enum ocl_way {
    OCL_TILES,  /* through local memory: matmul.cl */
    OCL_PAIRS,  /* likewise, 16-bit operands as they are: matmul_pairs.cl */
    OCL_PANELS, /* for processors: matmul_packed.cl */
    OCL_LINES,  /* for few rows: matmul_lines.cl */
    OCL_WAYS
} ocl_way;

enum { OCL_PLAN_NUMBERS = 6 };
enum { TM, TN, TK, WM, WN, PARTS };            /* TILES, PAIRS: a group makes TM x TN, TK terms at a time, an item WM x WN; the terms in PARTS */
enum { LENGTH, MW, NV, EACH };                 /* PANELS: vectors of LENGTH, blocks of MW rows and NV vectors; panels of an item at most */
enum { WIDTH, LINES_OF, ITEMS, LANES, SUB };   /* LINES: as matmul_lines.cl; SUB: the sub-group adds */

typedef struct ocl_plan {
    ocl_way way;
    int n[OCL_PLAN_NUMBERS]; /* what the way does not use is 0 */
} ocl_plan;

typedef struct ocl_shape {
    sail_dtype a, b, y;
    bool ta, tb;
    int64_t m, n, k;
} ocl_shape;

typedef struct ocl_tuning ocl_tuning;

/* op_matmul.c: the call, made in this way. */
sail_code ocl_matmul_by(sail_device *d, const sail_call *call, const ocl_plan *plan, sail_err *err);
ocl_shape ocl_shape_of(const sail_call *call);

/* plan.c */
enum { OCL_CANDIDATES = 64 };
/* Plans that can make products of this shape on this device; the first is the static choice. */
int ocl_candidates(sail_device *d, const ocl_shape *s, ocl_plan out[OCL_CANDIDATES]);
/* "tiles 64 64 16 4 4 1" */
void ocl_plan_text(const ocl_plan *p, char *out, size_t room);
/* A number for the class; its smallest member. */
uint64_t ocl_class_of(const ocl_shape *s);
ocl_shape ocl_class_shape(uint64_t class_);
void ocl_shape_text(const ocl_shape *s, char *out, size_t room);
/* The plan of this shape's class: chosen when it is first asked for. */
sail_code ocl_plan_for(sail_device *d, const ocl_shape *s, ocl_plan *out, sail_err *err);
/* Keep it for the class, in the place of what was there; timed: in the file beside the compiled programs, too. */
sail_code ocl_plan_keep(sail_device *d, const ocl_shape *s, const ocl_plan *p, bool timed, sail_err *err);
void ocl_tuning_free(sail_device *d);
/* As sail_backend says. */
sail_code ocl_choices_save(sail_device *d, void *out, size_t room, size_t *n, sail_err *err);
sail_code ocl_choices_load(sail_device *d, const void *data, size_t n, sail_err *err);

/* tune.c: time the candidates of a shape, each verified before it counts; the best is kept. tell may be NULL: called for each. */
typedef void ocl_tell(void *user, const char *what, double seconds, double flops, const char *problem);
sail_code ocl_tune(sail_device *d, const ocl_shape *s, ocl_tell *tell, void *user, ocl_plan *best, sail_err *err);

#endif
