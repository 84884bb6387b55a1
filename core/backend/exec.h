/* exec.h - an open device, and graphs compiled for it.
 *
 * Floor: backend. Threads: one. Ownership: a runtime owns its device; execs and memory must be freed before it. */
#ifndef SAIL_EXEC_H
#define SAIL_EXEC_H

#include "registry.h"

typedef struct sail_runtime {
    sail_ctx *ctx;
    const sail_backend *backend;
    sail_device *device;
    sail_device_info info;
    const char *name; /* of the backend */
    /* the ref backend's device for kernels that `backend` lacks; NULL: a missing kernel is an error (default) */
    const sail_backend *fallback;
    sail_device *fallback_device;
    bool told[SAIL_OP_COUNT]; /* ops whose fallback is in the log */
} sail_runtime;

/* backend slot: NAME or {kind: NAME, options}. device: its index as `sail doctor` lists them; a kind (gpu, cpu, accelerator):
 * the first of it; or a part or pattern (*, ?, []) of the name or, where no name fits, of the note, letters of either case: the
 * first that fits; NULL or "auto": the first. SAIL_E_NOTFOUND tells which there are. */
sail_code sail__runtime_open(sail_ctx *ctx, const sail_slot *backend, const char *device, sail_runtime **out, sail_err *err);
/* Let `ref` run what the backend lacks; each such op is told to the log once. ref: a slot of the ref backend. */
sail_code sail__runtime_fallback(sail_runtime *rt, const sail_slot *ref, sail_err *err);
void sail__runtime_close(sail_runtime *rt);

/* Persistent device memory of one matrix. Larger than the device's largest allocation: SAIL_E_NOMEM with the numbers. */
sail_code sail__tensor_alloc(sail_runtime *rt, sail_dtype t, int64_t rows, int64_t cols, sail_tensor *out, sail_err *err);
void sail__tensor_free(sail_runtime *rt, sail_tensor *t);
/* Host memory is packed rows (ld == cols) of the tensor's dtype. */
sail_code sail__tensor_put(sail_runtime *rt, const sail_tensor *t, const void *src, sail_err *err);
sail_code sail__tensor_get(sail_runtime *rt, const sail_tensor *t, void *dst, sail_err *err);
/* The same, converted from or to float32. */
sail_code sail__tensor_put_f32(sail_runtime *rt, const sail_tensor *t, const float *src, sail_err *err);
sail_code sail__tensor_get_f32(sail_runtime *rt, const sail_tensor *t, float *dst, sail_err *err);
sail_code sail__run_op(sail_runtime *rt, const sail_call *call, sail_err *err); /* one op, outside a graph */

/* A graph compiled for a device: a memory plan and a pool of device memory. Sizes are rounded up to buckets (multiples of 64
 * from 64 on), and a plan serves all sizes up to its own, so that it only ever grows. */
typedef struct sail_exec sail_exec;
sail_code sail__exec_new(sail_runtime *rt, const sail_graph *g, sail_exec **out, sail_err *err); /* g must outlive it */
void sail__exec_free(sail_exec *x);

/* What is bound in one run. params[index], inputs[slot]: tensors with the run's actual sizes. Outputs: after the run,
 * outputs[slot] views the pool's memory and stays valid until the exec's next run of a first part. */
typedef struct sail_binding {
    sail_dims dims;
    const sail_tensor *params;
    int n_params;
    const sail_tensor *inputs;
    int n_inputs;
    sail_tensor *outputs;
    int n_outputs;
} sail_binding;

enum { SAIL_RUN_FORWARD = 1, SAIL_RUN_BACKWARD = 2 };
/* Forward and backward may be run apart, with the same dims: what backward needs is kept between. Only what the parts use
 * need be bound. */
sail_code sail__exec_run(sail_exec *x, const sail_binding *b, int parts, sail_err *err);
/* Bytes of activations the pool would need for these sizes, without allocating. */
sail_code sail__exec_measure(sail_exec *x, const sail_dims *dims, uint64_t *bytes, sail_err *err);

#endif
