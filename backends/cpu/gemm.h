/* gemm.h - small matrix products out of registers: C [m, n] (+)= A [m, k] B, accumulated in order of k.
 *
 * Everything is in units of 32 bits. A unit is one float32 of k, or (pairs) two neighbouring bfloat16 of k, multiplied by
 * the processor's bfloat16 dot product. A is row-major in units; B is packed in panels of NR columns, [units of k][NR],
 * zero beyond its columns and beyond an odd k. A call adds one running sum in order of k to each element of C, whatever m
 * and n are, so an element does not depend on them. */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include "cpu.h"
#include "vec.h"

enum { NR = 2 * VL };
#if defined(__AVX512BF16__)
enum { HAVE_PAIRS = 1 };
#else
enum { HAVE_PAIRS = 0 };
#endif

INLINE int64_t units_of(int64_t k, bool pairs) { return pairs ? (k + 1) / 2 : k; }
INLINE int64_t round_panels(int64_t n) { return (n + NR - 1) / NR * NR; }

/* B is [n, k] (transposed) or [k, n], f32 or bf16, ldb elements a row; pairs only from bf16. Columns [0, n), n <= NR for the
 * _panel forms; `to` has units * NR (panel) or units * round_panels(n). */
/* ahead (may be NULL): memory that will be wanted, fetched line by line while packing. */
void K(pack_nk_panel)(uint32_t *to, const void *b, int64_t ldb, int n, int64_t k, bool b_bf16, bool pairs, const char *ahead);
void K(pack_kn_panel)(uint32_t *to, const void *b, int64_t ldb, int n, int64_t k, bool b_bf16, bool pairs);
void K(pack_nk)(uint32_t *to, const void *b, int64_t ldb, int64_t n, int64_t k, bool b_bf16, bool pairs);
void K(pack_kn)(uint32_t *to, const void *b, int64_t ldb, int64_t n, int64_t k, bool b_bf16, bool pairs);
/* Rows of A as units: to [m, units], converting where needed. */
void K(pack_rows)(uint32_t *to, const void *a, int64_t lda, int64_t m, int64_t k, bool a_bf16, bool pairs);

/* C [m, round_panels(n)] f32 with rows of ldc >= round_panels(n). lda in units. n_panels = round_panels(n) / NR. */
void K(gemm)(int64_t m, int64_t n_panels, int64_t units, const void *a, int64_t lda, const uint32_t *b, float *c,
             int64_t ldc, bool accumulate, bool pairs);

/* One product on one thread: oneDNN where it is worth it, else our own loops. Both sum runs of at most OWN_DEPTH along k,
 * each from zero, and add these in order, so that a row of the result is the same bits whatever the number of rows. (With
 * trans_a k is the number of rows of a batch, and the cutting is another one.) Made on the calling thread. */
enum { PRODUCT_ROWS = 512, PRODUCT_PARTS = 24, OWN_ROWS = 128, OWN_DEPTH = 384, LOW_ROWS = 24, LOW_MOST = 64 };
typedef struct product {
    cpu_product p; /* with trans_a any k, else m <= PRODUCT_ROWS when oneDNN is to be used */
    bool a_bf16, b_bf16;
    bool own;          /* only our own loops: for few rows, where B is read from memory once */
    bool through_tile; /* runs are summed in float32 scratch, then scaled, added to and rounded */
    int64_t depth;     /* of a run, where k is not cut into parts */
    /* A second product with a small k, of the same size, that is added while a tile is at hand: an adapter's. */
    int64_t low_k, low_lda; /* k, 0: none; units of a row of its A, which is read in place */
    bool low_pairs;
    float low_scale;
    int parts;         /* along k when trans_a, else along m */
    struct {
        int64_t start, size;
        cpu_prim *first, *more, *last; /* of the runs; first NULL: our own loops */
    } part[PRODUCT_PARTS];
    size_t scratch; /* bytes a thread needs */
} product;
sail_code K(product_make)(sail_device *d, product *x, sail_err *err);
typedef struct product_operands {
    const void *a, *b, *bias;
    const void *residual; /* of C's type, may be C; NULL: none, or C itself with `sum` */
    int64_t ld_residual;
    const void *low_a;
    const uint32_t *low_b; /* packed panels */
    void *c;
} product_operands;
bool K(product_run)(const product *x, int thread, const product_operands *with, void *scratch);

/* thin.c: the products of an adapter that are worth loops of their own. *done says whether they took the call. */
sail_code K(thin)(sail_device *d, const sail_call *c, bool *done, sail_err *err);

#endif
