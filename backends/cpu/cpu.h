/* cpu.h - the cpu backend's device, its scratch memory, and the tables of kernels for each instruction set.
 *
 * Threads: one thread uses a device; its pool's threads run tasks. How work is cut into tasks depends on shapes alone and
 * every sum has a fixed order, so results are the same bits for any number of threads.
 * Ownership: the device owns pool, oneDNN state and scratch; kernels allocate nothing but through cpu_scratch, which grows
 * and is kept. */
#ifndef CPU_H
#define CPU_H

#include "sail/backend.h"
#include "sail/pool.h"

enum { CPU_ALIGN = 64 };

typedef struct cpu_options {
    int64_t threads;
    int isa;
} cpu_options;

/* In order of preference, least first; also the choices of the option `isa`, after auto. */
typedef enum cpu_isa { CPU_AUTO, CPU_PLAIN, CPU_AVX2, CPU_AVX512, CPU_AVX512_F32 } cpu_isa;

struct sail_buffer {
    unsigned char *data;
    uint64_t bytes;
};

typedef struct cpu_dnnl cpu_dnnl; /* matmul.c */

typedef sail_code cpu_op(sail_device *d, const sail_call *c, sail_err *err);

/* One instruction set's kernels. */
typedef struct cpu_kernels {
    const char *name;
    cpu_op *op[SAIL_OP_COUNT];
    /* Two calls that follow each other, the second adding a product to the first's in its place: can they be done as one? */
    bool (*adds)(const sail_call *first, const sail_call *second);
    sail_code (*sum)(sail_device *d, const sail_call *first, const sail_call *second, sail_err *err);
} cpu_kernels;

extern const cpu_kernels cpu_kernels_plain;
#if defined(__x86_64__)
extern const cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512, cpu_kernels_avx512_bf16;
#endif

struct sail_device {
    sail_ctx *ctx;
    sail_pool *pool;
    int threads;
    const cpu_kernels *kernels;
    cpu_dnnl *dnnl;   /* NULL on the plain path */
    bool dnnl_bf16;   /* oneDNN multiplies bf16 at full speed here */
    bool dnnl_rows;   /* and sums each row in the same order however many rows there are */
    sail_counters counters;
    double seconds[SAIL_OP_COUNT];
    uint64_t calls[SAIL_OP_COUNT];
    unsigned char *shared, *each; /* scratch: one piece for a call, one per thread */
    size_t shared_bytes, each_bytes;
};

/* run.c */
bool cpu_supports(sail_device *d, const sail_call *call);
sail_code cpu_run(sail_device *d, const sail_call *calls, size_t n, sail_err *err);

/* Make sure that d->shared holds `shared` bytes and that each thread has `each`. */
sail_code cpu_scratch(sail_device *d, size_t shared, size_t each, sail_err *err);
static inline void *cpu_each(const sail_device *d, int thread) { return d->each + (size_t)thread * d->each_bytes; }
static inline size_t cpu_round(size_t bytes) { return (bytes + CPU_ALIGN - 1) / CPU_ALIGN * CPU_ALIGN; }

static inline void *cpu_data(const sail_tensor *t) { return t->buffer ? t->buffer->data + t->offset : NULL; }
static inline bool cpu_bf16(const sail_tensor *t) { return t->dtype == SAIL_BF16; }
static inline void *cpu_row(const sail_tensor *t, int64_t row)
{
    return t->buffer->data + t->offset + (size_t)row * (size_t)t->ld * (t->dtype == SAIL_BF16 || t->dtype == SAIL_F16 ? 2 : 4);
}

/* A matrix cut into blocks of whole rows, or of parts of rows where these are long. */
typedef struct cpu_block {
    int64_t row, rows, col, cols;
} cpu_block;
typedef void cpu_block_fn(const sail_device *d, const void *arg, const cpu_block *b, int thread);
/* fn for all blocks of about `size` elements, never cutting a row at another multiple than 1024; whole_rows: never at all. */
void cpu_blocks(sail_device *d, int64_t rows, int64_t cols, int64_t size, bool whole_rows, cpu_block_fn *fn, const void *arg);
/* fn for strips of `width` columns, the last may be narrower. */
void cpu_columns(sail_device *d, int64_t cols, int64_t width, cpu_block_fn *fn, const void *arg);

/* Index operand `operand` lies in [least, end); the error names where it does not. */
sail_code cpu_check_ids(const sail_call *c, int operand, int64_t least, int64_t end, sail_err *err);
static inline int32_t cpu_id(const sail_tensor *t, int64_t row, int64_t col)
{
    return ((const int32_t *)(const void *)(t->buffer->data + t->offset))[row * t->ld + col];
}

/* matmul.c - C (+)= scale A B through oneDNN, single-threaded, into [m,n] at c. */
typedef struct cpu_product {
    int64_t m, n, k;
    int64_t lda, ldb, ldc; /* elements */
    bool trans_a, trans_b; /* A is [k,m], B is [n,k] */
    bool bf16, bf16_out;   /* A and B; C */
    bool sum, bias, bias_bf16;
    float scale;           /* 1 where there is a bias */
} cpu_product;
typedef struct cpu_prim cpu_prim;
sail_code cpu_dnnl_new(sail_device *d, cpu_isa isa, cpu_dnnl **out, sail_err *err);
void cpu_dnnl_free(cpu_dnnl *x);
/* Calling thread only. The primitive stays valid until the next call of cpu_dnnl_begin. */
void cpu_dnnl_begin(cpu_dnnl *x);
sail_code cpu_dnnl_get(sail_device *d, const cpu_product *p, cpu_prim **out, sail_err *err);
size_t cpu_prim_scratch(const cpu_prim *p); /* bytes */
/* Any thread of the pool. False: oneDNN failed. */
bool cpu_prim_run(const cpu_prim *p, int thread, const void *a, const void *b, const void *bias, void *c, void *scratch);
void cpu_thread_init(void *arg, int thread);

#endif
