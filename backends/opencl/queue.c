/* queue.c - the queue: transfers, waiting, what kernels report, and their times. */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

enum { STAGE_MOST = 16 << 20 }; /* bytes; what is larger (weights, at the start) waits instead of being copied */

sail_code ocl_queue_new(sail_device *d, bool profiling, sail_err *err)
{
    cl_int status;
    cl_command_queue fresh =
        d->api.clCreateCommandQueue(d->context, d->facts.id, profiling ? CL_QUEUE_PROFILING_ENABLE : 0, &status);
    SAIL_TRY(ocl_check(status, err, "a queue on %s", d->facts.name));
    if (d->queue)
        d->api.clReleaseCommandQueue(d->queue);
    d->queue = fresh;
    d->profiling = profiling;
    return SAIL_OK;
}

/* ---- times ---- */

void ocl_time_collect(sail_device *d)
{
    for (int i = 0; i < d->n_timed; i++) {
        const ocl_timed *t = &d->timed[i];
        ocl_use *u = &d->uses[t->use];
        cl_ulong start = 0, end = 0;
        if (d->api.clGetEventProfilingInfo(t->event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) == CL_SUCCESS &&
            d->api.clGetEventProfilingInfo(t->event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) == CL_SUCCESS && end > start) {
            u->seconds += 1e-9 * (double)(end - start);
            d->seconds[u->op] += 1e-9 * (double)(end - start);
        }
        d->api.clReleaseEvent(t->event);
    }
    d->n_timed = 0;
}

sail_code ocl_time_note(const ocl_launch *l, cl_event event)
{
    sail_device *d = l->d;
    int i = 0;
    while (i < d->n_uses && !(d->uses[i].kernel == l->kernel && d->uses[i].op == l->call->op))
        i++;
    if (i == d->cap_uses) {
        ocl_use *more = realloc(d->uses, (size_t)(d->cap_uses + 64) * sizeof *more);
        if (!more) {
            d->api.clReleaseEvent(event);
            return sail_fail(l->err, SAIL_E_NOMEM, "opencl: no memory for the times of kernels");
        }
        d->uses = more;
        d->cap_uses += 64;
    }
    if (i == d->n_uses)
        d->uses[d->n_uses++] = (ocl_use){.kernel = l->kernel, .op = l->call->op};
    d->uses[i].calls++;
    d->uses[i].flops += l->flops;
    d->uses[i].bytes += l->bytes;
    d->timed[d->n_timed++] = (ocl_timed){event, i};
    return SAIL_OK;
}

sail_code ocl_profiling(sail_device *d, bool on, sail_err *err)
{
    if (d->profiling == on)
        return SAIL_OK;
    SAIL_TRY(ocl_sync(d, err));
    return ocl_queue_new(d, on, err);
}

void ocl_profile(sail_device *d, double *seconds, uint64_t *calls)
{
    memcpy(seconds, d->seconds, sizeof d->seconds);
    memcpy(calls, d->calls, sizeof d->calls);
    memset(d->seconds, 0, sizeof d->seconds);
    memset(d->calls, 0, sizeof d->calls);
}

void ocl_uses(sail_device *d, sail_kernel_use *out, int cap, int *n)
{
    *n = d->n_uses;
    for (int i = 0; i < d->n_uses && i < cap; i++) {
        const ocl_use *u = &d->uses[i];
        out[i] = (sail_kernel_use){.op = u->op, .calls = u->calls, .seconds = u->seconds, .flops = u->flops, .bytes = u->bytes};
        snprintf(out[i].name, sizeof out[i].name, "%s", u->kernel->entry);
        snprintf(out[i].variant, sizeof out[i].variant, "%s", u->kernel->variant);
    }
    if (cap >= d->n_uses && d->n_timed == 0)
        d->n_uses = 0;
}

/* ---- stages ---- */

static bool stage_done(sail_device *d, ocl_stage *s)
{
    cl_int state = CL_COMPLETE;
    if (!s->event)
        return true;
    d->api.clGetEventInfo(s->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (state > CL_COMPLETE)
        return false;
    d->api.clReleaseEvent(s->event); /* done, or failed: then the next wait says so */
    s->event = NULL;
    return true;
}

void ocl_stages_free(sail_device *d)
{
    for (int i = 0; i < OCL_STAGES; i++) {
        if (d->stages[i].event)
            d->api.clReleaseEvent(d->stages[i].event);
        free(d->stages[i].data);
        d->stages[i] = (ocl_stage){0};
    }
}

/* A free stage, the best that fits: round robin, so that the one looked at first is the oldest. NULL: all are in use. */
static ocl_stage *stage_for(sail_device *d, size_t bytes)
{
    ocl_stage *any = NULL;
    for (int i = 0; i < OCL_STAGES; i++) {
        ocl_stage *s = &d->stages[(d->next_stage + i) % OCL_STAGES];
        if (!stage_done(d, s))
            continue;
        if (s->room >= bytes && s->room <= 4 * bytes + 4096) {
            any = s;
            break;
        }
        if (!any || (any->room && !s->room))
            any = s;
    }
    if (!any)
        return NULL;
    d->next_stage = (int)(any - d->stages + 1) % OCL_STAGES;
    if (any->room < bytes) {
        free(any->data);
        any->room = (bytes + 4095) / 4096 * 4096;
        any->data = malloc(any->room);
        any->room = any->data ? any->room : 0;
    }
    return any->data ? any : NULL;
}

/* ---- transfers ---- */

static sail_code inside(const sail_buffer *b, uint64_t offset, uint64_t bytes, const char *what, sail_err *err)
{
    if (!b || offset > b->bytes || bytes > b->bytes - offset)
        return sail_fail(err, SAIL_E_ARG, "opencl: %s of %llu bytes at %llu leaves a buffer of %llu", what, (unsigned long long)bytes,
                         (unsigned long long)offset, (unsigned long long)(b ? b->bytes : 0));
    return SAIL_OK;
}

sail_code ocl_upload(sail_device *d, sail_buffer *b, uint64_t offset, const void *src, uint64_t bytes, sail_err *err)
{
    SAIL_TRY(inside(b, offset, bytes, "upload", err));
    d->counters.uploads++;
    d->counters.upload_bytes += bytes;
    if (bytes == 0)
        return SAIL_OK;
    ocl_stage *s = bytes <= STAGE_MOST ? stage_for(d, (size_t)bytes) : NULL;
    if (s)
        memcpy(s->data, src, bytes);
    SAIL_TRY(ocl_check(d->api.clEnqueueWriteBuffer(d->queue, b->mem, s ? CL_FALSE : CL_TRUE, b->offset + offset, bytes,
                                                   s ? s->data : src, 0, NULL, s ? &s->event : NULL),
                       err, "an upload of %llu bytes", (unsigned long long)bytes));
    return SAIL_OK;
}

/* What a kernel found wrong; the words were read and cleared. */
static sail_code fault_error(const int32_t *f, sail_err *err)
{
    const sail_op op = (sail_op)(f[0] - 1);
    const char *name = (unsigned)op < SAIL_OP_COUNT ? sail_op_name(op) : "a kernel";
    if (f[1] < 0)
        return f[3] >= 0 ? sail_fail(err, SAIL_E_NUMERIC, "%s: the logit of token %d in row %d is not a number", name, f[3], f[2])
                         : sail_fail(err, SAIL_E_NUMERIC, "%s: row %d has no finite logit", name, f[2]);
    return sail_fail(err, SAIL_E_ARG, "%s: operand %d has %d in row %d; it must lie in %d..%d", name, f[1], f[3], f[2], f[4],
                     f[5] - 1);
}

/* Wait for all work. bytes > 0: and read. */
static sail_code wait_all(sail_device *d, const sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err)
{
    static const int32_t none[OCL_FAULT_WORDS] = {0};
    int32_t fault[OCL_FAULT_WORDS] = {0};
    const bool look = d->may_fault;
    sail_code code = SAIL_OK;
    if (look) /* not blocking: what follows waits for it, too */
        code = ocl_check(d->api.clEnqueueReadBuffer(d->queue, d->fault, CL_FALSE, 0, sizeof fault, fault, 0, NULL, NULL), err,
                         "reading the reports of kernels");
    if (code == SAIL_OK && bytes)
        code = ocl_check(d->api.clEnqueueReadBuffer(d->queue, b->mem, CL_FALSE, b->offset + offset, bytes, dst, 0, NULL, NULL), err,
                         "a download of %llu bytes", (unsigned long long)bytes);
    const cl_int finished = d->api.clFinish(d->queue); /* always: nothing may write to this stack later */
    if (code == SAIL_OK)
        code = ocl_check(finished, err, "waiting for %s", d->facts.name);
    ocl_time_collect(d);
    if (code != SAIL_OK || !look)
        return code;
    d->may_fault = false;
    if (fault[0] == 0)
        return SAIL_OK;
    SAIL_TRY(ocl_check(d->api.clEnqueueWriteBuffer(d->queue, d->fault, CL_TRUE, 0, sizeof none, none, 0, NULL, NULL), err,
                       "clearing the reports of kernels"));
    return fault_error(fault, err);
}

sail_code ocl_download(sail_device *d, sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err)
{
    SAIL_TRY(inside(b, offset, bytes, "download", err));
    d->counters.downloads++;
    d->counters.download_bytes += bytes;
    return wait_all(d, b, offset, dst, bytes, err);
}

sail_code ocl_sync(sail_device *d, sail_err *err)
{
    d->counters.syncs++;
    return wait_all(d, NULL, 0, NULL, 0, err);
}

sail_code ocl_copy(sail_device *d, sail_buffer *to, uint64_t to_offset, sail_buffer *from, uint64_t from_offset, uint64_t bytes,
                   sail_err *err)
{
    SAIL_TRY(inside(to, to_offset, bytes, "copy to", err));
    SAIL_TRY(inside(from, from_offset, bytes, "copy from", err));
    const uint64_t a = to->offset + to_offset, b = from->offset + from_offset;
    if (bytes == 0 || (to->mem == from->mem && a == b))
        return SAIL_OK;
    if (to->mem != from->mem || a + bytes <= b || b + bytes <= a)
        return ocl_check(d->api.clEnqueueCopyBuffer(d->queue, from->mem, to->mem, b, a, bytes, 0, NULL, NULL), err,
                         "a copy of %llu bytes", (unsigned long long)bytes);
    cl_mem between; /* OpenCL copies nothing onto itself */
    SAIL_TRY(ocl_scratch(d, 0, bytes, &between, err));
    SAIL_TRY(ocl_check(d->api.clEnqueueCopyBuffer(d->queue, from->mem, between, b, 0, bytes, 0, NULL, NULL), err,
                       "a copy of %llu bytes", (unsigned long long)bytes));
    return ocl_check(d->api.clEnqueueCopyBuffer(d->queue, between, to->mem, 0, a, bytes, 0, NULL, NULL), err,
                     "a copy of %llu bytes", (unsigned long long)bytes);
}
