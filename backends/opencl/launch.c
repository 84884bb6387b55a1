/* launch.c - a kernel's arguments and its start; OpenCL's status codes as errors. */
#include <stdarg.h>
#include <string.h>

#include "opencl.h"

const char *ocl_status_name(cl_int status)
{
    switch (status) {
#define NAME(code) case code: return #code;
        NAME(CL_SUCCESS) NAME(CL_DEVICE_NOT_FOUND) NAME(CL_DEVICE_NOT_AVAILABLE) NAME(CL_COMPILER_NOT_AVAILABLE)
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE) NAME(CL_OUT_OF_RESOURCES) NAME(CL_OUT_OF_HOST_MEMORY)
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE) NAME(CL_MEM_COPY_OVERLAP) NAME(CL_BUILD_PROGRAM_FAILURE)
        NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) NAME(CL_INVALID_VALUE) NAME(CL_INVALID_DEVICE_TYPE)
        NAME(CL_INVALID_PLATFORM) NAME(CL_INVALID_DEVICE) NAME(CL_INVALID_CONTEXT) NAME(CL_INVALID_QUEUE_PROPERTIES)
        NAME(CL_INVALID_COMMAND_QUEUE) NAME(CL_INVALID_MEM_OBJECT) NAME(CL_INVALID_BINARY) NAME(CL_INVALID_BUILD_OPTIONS)
        NAME(CL_INVALID_PROGRAM) NAME(CL_INVALID_PROGRAM_EXECUTABLE) NAME(CL_INVALID_KERNEL_NAME)
        NAME(CL_INVALID_KERNEL_DEFINITION) NAME(CL_INVALID_KERNEL) NAME(CL_INVALID_ARG_INDEX) NAME(CL_INVALID_ARG_VALUE)
        NAME(CL_INVALID_ARG_SIZE) NAME(CL_INVALID_KERNEL_ARGS) NAME(CL_INVALID_WORK_DIMENSION)
        NAME(CL_INVALID_WORK_GROUP_SIZE) NAME(CL_INVALID_WORK_ITEM_SIZE) NAME(CL_INVALID_GLOBAL_OFFSET)
        NAME(CL_INVALID_EVENT_WAIT_LIST) NAME(CL_INVALID_EVENT) NAME(CL_INVALID_OPERATION) NAME(CL_INVALID_BUFFER_SIZE)
        NAME(CL_INVALID_GLOBAL_WORK_SIZE)
#undef NAME
    case -1001: return "no driver is installed";
    default: return "unknown status";
    }
}

sail_code ocl_check(cl_int status, sail_err *err, const char *fmt, ...)
{
    if (status == CL_SUCCESS)
        return SAIL_OK;
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const bool memory = status == CL_MEM_OBJECT_ALLOCATION_FAILURE || status == CL_OUT_OF_HOST_MEMORY ||
                        status == CL_OUT_OF_RESOURCES || status == CL_INVALID_BUFFER_SIZE;
    return sail_fail(err, memory ? SAIL_E_NOMEM : SAIL_E_DEVICE, "opencl: %s: %s (%d)", what, ocl_status_name(status), (int)status);
}

const char *ocl_type(sail_dtype t) { return sail_dtype_name(t); }

void ocl_begin(ocl_launch *l, sail_device *d, const sail_call *c, sail_err *err, const char *sources, const char *entry,
               const char *options, ...)
{
    char text[512];
    va_list ap;
    *l = (ocl_launch){.d = d, .call = c, .err = err};
    va_start(ap, options);
    const int n = vsnprintf(text, sizeof text, options, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        l->code = sail_fail(err, SAIL_E_BUG, "opencl: the options of %s are too long", entry);
    else
        l->code = ocl_kernel_get(d, sources, entry, text, &l->kernel, err);
}

static void argument(ocl_launch *l, size_t size, const void *value)
{
    if (l->code != SAIL_OK)
        return;
    const cl_uint i = l->next++;
    l->code = ocl_check(l->d->api.clSetKernelArg(l->kernel->handle, i, size, value), l->err, "argument %u of %s", i,
                        l->kernel->entry);
}

void ocl_memory(ocl_launch *l, cl_mem m) { argument(l, sizeof m, &m); }
void ocl_i32(ocl_launch *l, int32_t v) { argument(l, sizeof v, &v); }
void ocl_i64(ocl_launch *l, int64_t v) { argument(l, sizeof v, &v); }
void ocl_u64(ocl_launch *l, uint64_t v) { argument(l, sizeof v, &v); }
void ocl_f32(ocl_launch *l, float v) { argument(l, sizeof v, &v); }
void ocl_local(ocl_launch *l, size_t bytes) { argument(l, bytes, NULL); }

void ocl_matrix(ocl_launch *l, const sail_tensor *t)
{
    if (!t->buffer) {
        ocl_memory(l, l->d->fault);
        ocl_u64(l, 0);
        ocl_i64(l, 0);
        return;
    }
    const bool blocks = sail_dtype_is_quantised(t->dtype);
    const uint64_t at = t->buffer->offset + t->offset, element = blocks ? 1 : sail_dtype_block_bytes(t->dtype);
    ocl_memory(l, t->buffer->mem);
    ocl_u64(l, at / element);
    ocl_i64(l, blocks ? (int64_t)sail_dtype_bytes(t->dtype, (uint64_t)t->ld) : t->ld);
    if (at % element != 0 && l->code == SAIL_OK)
        l->code = sail_fail(l->err, SAIL_E_ARG, "opencl: %s: a matrix of %s begins at byte %llu", sail_op_name(l->call->op),
                            sail_dtype_name(t->dtype), (unsigned long long)at);
}

void ocl_faults(ocl_launch *l)
{
    ocl_memory(l, l->d->fault);
    ocl_i32(l, (int32_t)l->call->op + 1);
    l->d->may_fault = true;
}

sail_code ocl_start(ocl_launch *l, int dims, const size_t *global, const size_t *local)
{
    sail_device *d = l->d;
    cl_event event = NULL;
    if (l->code != SAIL_OK)
        return l->code;
    if (d->profiling && d->n_timed == OCL_EVENTS) {
        SAIL_TRY(ocl_check(d->api.clFinish(d->queue), l->err, "waiting for the times of kernels"));
        ocl_time_collect(d);
    }
    SAIL_TRY(ocl_check(d->api.clEnqueueNDRangeKernel(d->queue, l->kernel->handle, (cl_uint)dims, NULL, global, local, 0, NULL,
                                                     d->profiling ? &event : NULL),
                       l->err, "%s: starting %s over %zu x %zu x %zu in groups of %zu x %zu x %zu", sail_op_name(l->call->op),
                       l->kernel->entry, global[0], dims > 1 ? global[1] : 1, dims > 2 ? global[2] : 1, local ? local[0] : 0,
                       local && dims > 1 ? local[1] : 1, local && dims > 2 ? local[2] : 1));
    return d->profiling ? ocl_time_note(l, event) : SAIL_OK;
}

size_t ocl_group_for(const ocl_launch *l, int64_t n, size_t most)
{
    size_t top = l->d->facts.cpu ? 64 : 256, size = 1;
    top = most < top ? most : top;
    top = l->d->facts.group < top ? l->d->facts.group : top;
    if (l->kernel && l->kernel->group < top)
        top = l->kernel->group;
    while (size * 2 <= top && (int64_t)size < n)
        size *= 2;
    return size;
}

sail_code ocl_start_map(ocl_launch *l, int64_t rows, int64_t cols)
{
    enum { EACH = 4, MOST_GROUPS = 65536 };
    if (l->code != SAIL_OK || rows <= 0 || cols <= 0)
        return l->code;
    const size_t whole = ocl_group_for(l, INT64_MAX, 256), wide = ocl_group_for(l, (cols + EACH - 1) / EACH, whole);
    const size_t local[2] = {wide, (int64_t)(whole / wide) < rows ? whole / wide : ocl_group_for(l, rows, whole / wide)};
    size_t groups[2] = {(size_t)((cols + (int64_t)(wide * EACH) - 1) / (int64_t)(wide * EACH)),
                        (size_t)((rows + (int64_t)local[1] - 1) / (int64_t)local[1])};
    for (int i = 0; i < 2; i++)
        groups[i] = groups[i] < MOST_GROUPS ? groups[i] : MOST_GROUPS;
    const size_t global[2] = {groups[0] * local[0], groups[1] * local[1]};
    return ocl_start(l, 2, global, local);
}

sail_code ocl_start_groups(ocl_launch *l, int64_t groups, size_t items)
{
    const size_t global = (size_t)groups * items;
    return groups > 0 ? ocl_start(l, 1, &global, &items) : l->code;
}
