/* limits.c - what a device can do, measured with kernels that do nothing else: the other kernels' times are compared with it. */
#include <time.h>

#include "opencl.h"

enum { TRIES = 16, CHAINS = 12, GROUP = 64 }; /* CHAINS: limits.cl */

double ocl_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct job {
    sail_device *d;
    sail_err *err;
    const sail_call *call; /* names the op in messages */
    cl_mem x, y;
    uint64_t bytes;
    int length;
    bool alone;
    size_t items;
} job;

static void begin(const job *j, ocl_launch *l, const char *entry)
{
    ocl_begin(l, j->d, j->call, j->err, "limits", entry, "-D LENGTH=%d%s", j->length, j->alone ? " -D ALONE" : "");
}

static sail_code start(const job *j, ocl_launch *l, double *seconds)
{
    const size_t local = j->alone ? 1 : GROUP;
    const double from = ocl_now();
    SAIL_TRY(ocl_start(l, 1, &j->items, &local));
    SAIL_TRY(ocl_sync(j->d, j->err));
    *seconds = ocl_now() - from;
    return SAIL_OK;
}

/* Twice as long until a start's cost is little beside it; then the best of some: short ones, for others may use the device, too. */
static sail_code flops(const job *j, double *best)
{
    int times = 256;
    for (int i = 0; i < TRIES;) {
        ocl_launch l;
        double seconds;
        begin(j, &l, "limit_flops");
        ocl_memory(&l, j->y);
        ocl_f32(&l, 0.5f);
        ocl_f32(&l, 1);
        ocl_i32(&l, times);
        SAIL_TRY(start(j, &l, &seconds));
        if (seconds < 0.002 && times < 1 << 24) {
            times *= 2;
            continue;
        }
        const double rate = 2.0 * CHAINS * j->length * times * (double)j->items / seconds;
        *best = rate > *best ? rate : *best;
        i++;
    }
    return SAIL_OK;
}

static sail_code bytes(const job *j, double *best)
{
    const int64_t n = (int64_t)(j->bytes / 4) / j->length;
    for (int i = 0; i < TRIES + 2; i++) { /* the first of each touches the pages */
        const bool copy = i % 2 == 0;
        ocl_launch l;
        double seconds;
        begin(j, &l, copy ? "limit_copy" : "limit_read");
        ocl_memory(&l, j->x);
        ocl_memory(&l, j->y);
        ocl_i64(&l, n);
        SAIL_TRY(start(j, &l, &seconds));
        const double rate = (copy ? 2.0 : 1.0) * 4 * (double)n * j->length / seconds;
        *best = i > 1 && rate > *best ? rate : *best;
    }
    return SAIL_OK;
}

sail_code ocl_limits(sail_device *d, double *flops_out, double *bytes_out, sail_err *err)
{
    static const sail_call none = {.op = SAIL_OP_FILL};
    enum { MOST = 128 << 20 };
    const uint64_t room = d->limit > d->counters.bytes_now ? d->limit - d->counters.bytes_now : 0;
    const sail_counters before = d->counters;
    sail_device_info info;
    ocl_describe(&d->facts, &d->options, &info);
    const size_t units = d->facts.units > 0 ? (size_t)d->facts.units : 1;
    job j = {.d = d, .err = err, .call = &none, .bytes = room / 4 < MOST ? room / 4 : MOST, .alone = d->facts.cpu};
    j.bytes = (j.bytes < info.largest_allocation ? j.bytes : info.largest_allocation) / 4096 * 4096;
    j.length = j.alone ? d->facts.vector : 4;
    j.items = j.alone ? 4 * units : units * 32 * GROUP;
    if (j.bytes < j.items * 4)
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory is left on %s to measure its speed", d->facts.name);
    *flops_out = *bytes_out = 0;
    sail_code code = ocl_mem_new(d, j.bytes, "memory to measure with", &j.x, err);
    if (code == SAIL_OK)
        code = ocl_mem_new(d, j.bytes, "memory to measure with", &j.y, err);
    if (code == SAIL_OK)
        code = flops(&j, flops_out);
    if (code == SAIL_OK)
        code = bytes(&j, bytes_out);
    ocl_mem_free(d, j.x, j.bytes);
    ocl_mem_free(d, j.y, j.y ? j.bytes : 0);
    d->counters = before; /* nobody's work */
    return code;
}
