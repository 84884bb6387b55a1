/* memory.c - device memory: large buffers of their own, small ones cut from slabs.
 *
 * What is freed may be handed out again at once: the queue is in order, so work on the old contents comes before work on
 * the new; and a driver keeps a released memory object until commands that use it are done. */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

enum { SLAB = 16 << 20, SMALL = SLAB / 16 };

/* A run of a slab's bytes; runs follow each other without gaps, and no two free ones are neighbours. */
struct run {
    struct run *next;
    uint64_t offset, bytes;
    bool taken;
};

struct ocl_slab {
    ocl_slab *next;
    cl_mem mem;
    uint64_t bytes;
    struct run *runs;
};

static double mib(uint64_t bytes) { return (double)bytes / 0x1p20; }

sail_code ocl_mem_new(sail_device *d, uint64_t bytes, const char *what, cl_mem *out, sail_err *err)
{
    sail_device_info info;
    cl_int status = CL_SUCCESS;
    ocl_describe(&d->facts, &d->options, &info);
    if (bytes > info.largest_allocation)
        return sail_fail(err, SAIL_E_NOMEM, "opencl: %s of %.1f MiB: %s allocates at most %.1f MiB at once%s", what, mib(bytes), d->facts.name,
                         mib(info.largest_allocation), d->options.largest > 0 ? " by the option `largest`" : "");
    if (bytes > d->limit || d->counters.bytes_now > d->limit - bytes)
        return sail_fail(err, SAIL_E_NOMEM, "opencl: %s of %.1f MiB beside the %.1f MiB in use: %s has %.1f MiB%s", what, mib(bytes),
                         mib(d->counters.bytes_now), d->facts.name, mib(d->limit), d->options.memory > 0 ? " by the option `memory`" : "");
    *out = d->api.clCreateBuffer(d->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    SAIL_TRY(ocl_check(status, err, "%s of %.1f MiB beside the %.1f MiB in use (of %.1f MiB)", what, mib(bytes),
                       mib(d->counters.bytes_now), mib(d->limit)));
    d->counters.bytes_now += bytes;
    if (d->counters.bytes_now > d->counters.bytes_peak)
        d->counters.bytes_peak = d->counters.bytes_now;
    return SAIL_OK;
}

void ocl_mem_free(sail_device *d, cl_mem mem, uint64_t bytes)
{
    if (!mem)
        return;
    d->api.clReleaseMemObject(mem);
    d->counters.bytes_now -= bytes;
}

static void slab_free(sail_device *d, ocl_slab *s)
{
    for (struct run *r = s->runs, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    ocl_mem_free(d, s->mem, s->bytes);
    free(s);
}

void ocl_slabs_free(sail_device *d)
{
    for (ocl_slab *s = d->slabs, *next; s; s = next) {
        next = s->next;
        slab_free(d, s);
    }
    d->slabs = NULL;
}

static sail_code slab_new(sail_device *d, uint64_t bytes, sail_err *err)
{
    ocl_slab *s = calloc(1, sizeof *s);
    struct run *all = calloc(1, sizeof *all);
    if (!s || !all) {
        free(s);
        free(all);
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no host memory for a slab");
    }
    const sail_code code = ocl_mem_new(d, bytes, "a slab", &s->mem, err);
    if (code != SAIL_OK) {
        free(s);
        free(all);
        return code;
    }
    all->bytes = s->bytes = bytes;
    s->runs = all;
    s->next = d->slabs;
    d->slabs = s;
    return SAIL_OK;
}

/* First fit; false: no slab has room, or the host no memory. */
static bool take(sail_device *d, uint64_t room, sail_buffer *b)
{
    for (ocl_slab *s = d->slabs; s; s = s->next)
        for (struct run *r = s->runs; r; r = r->next) {
            if (r->taken || r->bytes < room)
                continue;
            if (r->bytes > room) {
                struct run *rest = calloc(1, sizeof *rest);
                if (!rest)
                    return false;
                *rest = (struct run){r->next, r->offset + room, r->bytes - room, false};
                r->next = rest;
                r->bytes = room;
            }
            r->taken = true;
            b->mem = s->mem;
            b->slab = s;
            b->offset = r->offset;
            return true;
        }
    return false;
}

static void give_back(sail_device *d, sail_buffer *b)
{
    ocl_slab *s = b->slab;
    struct run *before = NULL, *r = s->runs;
    while (r && r->offset != b->offset) {
        before = r;
        r = r->next;
    }
    if (!r)
        return;
    r->taken = false;
    if (r->next && !r->next->taken) {
        struct run *gone = r->next;
        r->bytes += gone->bytes;
        r->next = gone->next;
        free(gone);
    }
    if (before && !before->taken) {
        before->bytes += r->bytes;
        before->next = r->next;
        free(r);
    }
    if (s->runs->taken || s->runs->next)
        return;
    for (ocl_slab **at = &d->slabs; *at; at = &(*at)->next) /* nothing is left of it */
        if (*at == s) {
            *at = s->next;
            slab_free(d, s);
            return;
        }
}

sail_code ocl_alloc(sail_device *d, uint64_t bytes, sail_buffer **out, sail_err *err)
{
    const uint64_t unit = d->facts.alignment, room = (bytes + unit - 1) / unit * unit;
    if (bytes == 0 || room < bytes)
        return sail_fail(err, SAIL_E_ARG, "opencl: a buffer of %llu bytes", (unsigned long long)bytes);
    sail_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no host memory for a buffer's description");
    b->bytes = bytes;
    b->room = room;
    sail_device_info info;
    ocl_describe(&d->facts, &d->options, &info);
    sail_code code = SAIL_OK;
    const bool pooled = room <= SMALL && SLAB <= info.largest_allocation && SLAB <= d->limit / 16;
    if (!pooled)
        code = ocl_mem_new(d, room, "a buffer", &b->mem, err);
    else if (!take(d, room, b)) {
        code = slab_new(d, SLAB, err);
        if (code == SAIL_OK && !take(d, room, b))
            code = sail_fail(err, SAIL_E_NOMEM, "opencl: no host memory for a buffer's description");
    }
    if (code != SAIL_OK) {
        free(b);
        return code;
    }
    *out = b;
    return SAIL_OK;
}

void ocl_free(sail_device *d, sail_buffer *b)
{
    if (!b)
        return;
    if (b->slab)
        give_back(d, b);
    else
        ocl_mem_free(d, b->mem, b->room);
    free(b);
}

sail_code ocl_scratch(sail_device *d, int slot, uint64_t bytes, cl_mem *out, sail_err *err)
{
    if (bytes > d->scratch_bytes[slot] || !d->scratch[slot]) {
        const uint64_t room = (bytes + 65535) / 65536 * 65536 + 65536;
        ocl_mem_free(d, d->scratch[slot], d->scratch_bytes[slot]);
        d->scratch[slot] = NULL;
        d->scratch_bytes[slot] = 0;
        SAIL_TRY(ocl_mem_new(d, room, "intermediate results", &d->scratch[slot], err));
        d->scratch_bytes[slot] = room;
    }
    *out = d->scratch[slot];
    return SAIL_OK;
}
