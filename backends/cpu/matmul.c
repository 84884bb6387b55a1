/* matmul.c - oneDNN: cached, single-threaded matrix products on plain (strided) layouts. The only file that knows oneDNN;
 * compiles with its versions 2 and 3.
 *
 * A primitive costs about half a millisecond to make, so they are kept by shape and layout, the least recently used
 * leaving when there are MOST of them. Callers keep the number of shapes small by cutting rows into sizes from a short list.
 * Each pool thread has its own memory handles and calls with OpenMP set to one thread, so nothing here waits or spins. */
#include "cpu.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout; /* a handle of ours to destroy */
typedef const_dnnl_memory_desc_t layout_ref;
typedef dnnl_primitive_desc_t described;
#define LAYOUT_REF(l) (l)
#else
typedef dnnl_memory_desc_t layout;
typedef const dnnl_memory_desc_t *layout_ref;
typedef dnnl_primitive_desc_t described;
#define LAYOUT_REF(l) (&(l))
#endif

enum { MOST = 512, BUCKETS = 1024 };
enum { ARG_A, ARG_B, ARG_C, ARG_SCRATCH, ARG_BIAS, ARGS };
static const int dnnl_arg[ARGS] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD, DNNL_ARG_BIAS};

struct cpu_prim {
    cpu_product key;
    cpu_prim *next;
    uint64_t used;
    const cpu_dnnl *owner;
    dnnl_primitive_t primitive;
    size_t scratch;
    dnnl_memory_t memory[][ARGS]; /* for each thread */
};

struct cpu_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int threads, count;
    uint64_t epoch;
    cpu_prim *bucket[BUCKETS];
};

void cpu_thread_init(void *arg, int thread)
{
#ifdef _OPENMP
    omp_set_num_threads(1);
#endif
}

static const char *text(dnnl_status_t s)
{
    switch (s) {
    case dnnl_out_of_memory:
        return "out of memory";
    case dnnl_invalid_arguments:
        return "invalid arguments";
    case dnnl_unimplemented:
        return "unimplemented";
    default:
        return "failed";
    }
}

sail_code cpu_dnnl_new(sail_device *d, cpu_isa isa, cpu_dnnl **out, sail_err *err)
{
    /* The cap is the process's and only the first caller sets it: a later device with another path gets the first one's. */
    if (isa == CPU_AVX2)
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
    else if (isa == CPU_AVX512_F32)
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core);
    cpu_dnnl *x = calloc(1, sizeof *x);
    if (!x)
        return sail_fail(err, SAIL_E_NOMEM, "cpu: oneDNN");
    x->threads = d->threads;
    dnnl_status_t s = dnnl_engine_create(&x->engine, dnnl_cpu, 0);
    if (s == dnnl_success)
        s = dnnl_stream_create(&x->stream, x->engine, dnnl_stream_default_flags);
    if (s != dnnl_success) {
        cpu_dnnl_free(x);
        return sail_fail(err, SAIL_E_DEVICE, "cpu: oneDNN cannot be started: %s", text(s));
    }
    (void)dnnl_set_primitive_cache_capacity(0); /* we keep our own */
    dnnl_cpu_isa_t have = dnnl_get_effective_cpu_isa();
    d->dnnl_bf16 = isa == CPU_AVX512 && (have & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
    d->dnnl_rows = isa != CPU_AVX2;
    *out = x;
    return SAIL_OK;
}

static void prim_free(cpu_prim *p, int threads)
{
    for (int t = 0; t < threads; t++)
        for (int i = 0; i < ARGS; i++)
            if (p->memory[t][i])
                dnnl_memory_destroy(p->memory[t][i]);
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    free(p);
}

void cpu_dnnl_free(cpu_dnnl *x)
{
    if (!x)
        return;
    for (int i = 0; i < BUCKETS; i++)
        while (x->bucket[i]) {
            cpu_prim *p = x->bucket[i];
            x->bucket[i] = p->next;
            prim_free(p, x->threads);
        }
    if (x->stream)
        dnnl_stream_destroy(x->stream);
    if (x->engine)
        dnnl_engine_destroy(x->engine);
    free(x);
}

static bool same(const cpu_product *a, const cpu_product *b)
{
    return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb && a->ldc == b->ldc &&
           a->trans_a == b->trans_a && a->trans_b == b->trans_b && a->bf16 == b->bf16 && a->bf16_out == b->bf16_out &&
           a->sum == b->sum && a->bias == b->bias && a->bias_bf16 == b->bias_bf16 && a->scale == b->scale;
}

static unsigned bucket_of(const cpu_product *p)
{
    int64_t parts[] = {p->m, p->n, p->k, p->lda, p->ldb, p->ldc, p->trans_a + 2 * p->trans_b + 4 * p->bf16 +
                       8 * p->bf16_out + 16 * p->sum + 32 * p->bias};
    uint64_t h = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        h = (h ^ (uint64_t)parts[i]) * 0x9e3779b97f4a7c15u;
    return (unsigned)(h >> 40) % BUCKETS;
}

static dnnl_status_t layout_make(layout *out, int64_t rows, int64_t cols, int64_t ld, bool transposed, bool bf16)
{
    dnnl_dims_t dims = {rows, cols}, strides = {transposed ? 1 : ld, transposed ? ld : 1};
    dnnl_data_type_t t = bf16 ? dnnl_bf16 : dnnl_f32;
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_strides(out, 2, dims, t, strides);
#else
    return dnnl_memory_desc_init_by_strides(out, 2, dims, t, strides);
#endif
}

static dnnl_status_t describe(const cpu_dnnl *x, const cpu_product *p, layout l[4], described *out)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t post = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(&attr);
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (s == dnnl_success)
        s = dnnl_post_ops_create(&post);
#if DNNL_VERSION_MAJOR >= 3
    if (s == dnnl_success && p->scale != 1.0f)
        s = dnnl_post_ops_append_eltwise(post, dnnl_eltwise_linear, p->scale, 0.0f);
    if (s == dnnl_success && p->sum)
        s = dnnl_post_ops_append_sum(post, 1.0f, 0, dnnl_data_type_undef);
#else
    /* as an output scale: the same as a linear post-op sends 2.x to its reference code */
    if (s == dnnl_success && p->scale != 1.0f)
        s = dnnl_primitive_attr_set_output_scales(attr, 1, 0, &p->scale);
    if (s == dnnl_success && p->sum)
        s = dnnl_post_ops_append_sum(post, 1.0f);
#endif
    if (s == dnnl_success)
        s = dnnl_primitive_attr_set_post_ops(attr, post);
    if (s == dnnl_success) {
        layout_ref bias = p->bias ? LAYOUT_REF(l[3]) : NULL;
#if DNNL_VERSION_MAJOR >= 3
        s = dnnl_matmul_primitive_desc_create(out, x->engine, l[0], l[1], bias, l[2], attr);
#else
        dnnl_matmul_desc_t d;
        s = dnnl_matmul_desc_init(&d, &l[0], &l[1], bias, &l[2]);
        if (s == dnnl_success)
            s = dnnl_primitive_desc_create(out, &d, attr, x->engine, NULL);
#endif
    }
    if (post)
        dnnl_post_ops_destroy(post);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return s;
}

static dnnl_status_t build(const cpu_dnnl *x, cpu_prim *made)
{
    const cpu_product *p = &made->key;
    layout l[4];
    memset(l, 0, sizeof l);
    dnnl_status_t s = layout_make(&l[0], p->m, p->k, p->lda, p->trans_a, p->bf16);
    if (s == dnnl_success)
        s = layout_make(&l[1], p->k, p->n, p->ldb, p->trans_b, p->bf16);
    if (s == dnnl_success)
        s = layout_make(&l[2], p->m, p->n, p->ldc, false, p->bf16_out);
    if (s == dnnl_success && p->bias)
        s = layout_make(&l[3], 1, p->n, p->n, false, p->bias_bf16);
    described d = NULL;
    if (s == dnnl_success)
        s = describe(x, p, l, &d);
    if (s == dnnl_success)
        s = dnnl_primitive_create(&made->primitive, d);
    if (s == dnnl_success) {
        layout_ref scratch = dnnl_primitive_desc_query_md(d, dnnl_query_scratchpad_md, 0);
        made->scratch = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
        for (int t = 0; t < x->threads && s == dnnl_success; t++) {
            layout_ref arg[ARGS] = {LAYOUT_REF(l[0]), LAYOUT_REF(l[1]), LAYOUT_REF(l[2]), made->scratch ? scratch : NULL,
                                    p->bias ? LAYOUT_REF(l[3]) : NULL};
            for (int i = 0; i < ARGS && s == dnnl_success; i++)
                if (arg[i])
                    s = dnnl_memory_create(&made->memory[t][i], arg[i], x->engine, DNNL_MEMORY_NONE);
        }
    }
    if (d)
        dnnl_primitive_desc_destroy(d);
#if DNNL_VERSION_MAJOR >= 3
    for (int i = 0; i < 4; i++)
        if (l[i])
            dnnl_memory_desc_destroy(l[i]);
#endif
    return s;
}

void cpu_dnnl_begin(cpu_dnnl *x) { x->epoch++; }

static void drop_oldest(cpu_dnnl *x)
{
    cpu_prim **oldest = NULL;
    for (int i = 0; i < BUCKETS; i++)
        for (cpu_prim **at = &x->bucket[i]; *at; at = &(*at)->next)
            if ((*at)->used != x->epoch && (!oldest || (*at)->used < (*oldest)->used))
                oldest = at;
    if (!oldest) /* all are wanted by the call being prepared */
        return;
    cpu_prim *p = *oldest;
    *oldest = p->next;
    prim_free(p, x->threads);
    x->count--;
}

sail_code cpu_dnnl_get(sail_device *d, const cpu_product *p, cpu_prim **out, sail_err *err)
{
    cpu_dnnl *x = d->dnnl;
    unsigned at = bucket_of(p);
    for (cpu_prim *e = x->bucket[at]; e; e = e->next)
        if (same(&e->key, p)) {
            e->used = x->epoch;
            *out = e;
            return SAIL_OK;
        }
    if (x->count >= MOST)
        drop_oldest(x);
    cpu_prim *made = calloc(1, sizeof *made + (size_t)x->threads * sizeof made->memory[0]);
    if (!made)
        return sail_fail(err, SAIL_E_NOMEM, "cpu: a oneDNN primitive");
    made->key = *p;
    made->owner = x;
    made->used = x->epoch;
    dnnl_status_t s = build(x, made);
    if (s != dnnl_success) {
        prim_free(made, x->threads);
        return sail_fail(err, s == dnnl_out_of_memory ? SAIL_E_NOMEM : SAIL_E_DEVICE,
                         "cpu: oneDNN makes no product of %lld x %lld x %lld (%s): %s", (long long)p->m, (long long)p->n,
                         (long long)p->k, p->bf16 ? "bf16" : "f32", text(s));
    }
    made->next = x->bucket[at];
    x->bucket[at] = made;
    x->count++;
    d->counters.kernels_created++;
    *out = made;
    return SAIL_OK;
}

size_t cpu_prim_scratch(const cpu_prim *p) { return p->scratch; }

bool cpu_prim_run(const cpu_prim *p, int thread, const void *a, const void *b, const void *bias, void *c, void *scratch)
{
    const void *data[ARGS] = {a, b, c, scratch, bias};
    dnnl_exec_arg_t arg[ARGS];
    int n = 0;
    for (int i = 0; i < ARGS; i++) {
        dnnl_memory_t m = p->memory[thread][i];
        if (!m)
            continue;
        /* oneDNN's handles are not const; it writes only to C and the scratch memory */
        if (dnnl_memory_set_data_handle(m, (void *)(uintptr_t)data[i]) != dnnl_success)
            return false;
        arg[n++] = (dnnl_exec_arg_t){dnnl_arg[i], m};
    }
    return dnnl_primitive_execute(p->primitive, p->owner->stream, n, arg) == dnnl_success;
}
