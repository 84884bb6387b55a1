/* backend.h - what a backend supplies: memory, transfers, and ops on a device.
 *
 * Floor: backend. A backend is a plugin of kind SAIL_KIND_BACKEND whose ops point to a sail_backend.
 * Threads: a device is used by one thread at a time. The backend owns its own threads.
 * Order: everything given to a device happens in the order it was given, later; nothing is known to be done before
 * sync. Only sync, download, profiling, tune and limits wait, and a backend may wait nowhere else. */
#ifndef SAIL_BACKEND_H
#define SAIL_BACKEND_H

#include "graph.h"
#include "log.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_device sail_device; /* the backend's own */

typedef struct sail_device_info {
    char name[128], vendor[64], driver[64], kind[16]; /* kind: cpu, gpu, reference */
    char note[192];                                   /* what sail would use on it, or why it cannot be used */
    uint64_t memory, largest_allocation;              /* bytes; memory 0: it cannot be used */
    uint32_t alignment;                               /* of buffer offsets, bytes */
    int compute_units;
} sail_device_info;

typedef struct sail_counters {
    uint64_t bytes_now, bytes_peak;          /* device memory allocated */
    uint64_t uploads, downloads, upload_bytes, download_bytes;
    uint64_t calls, syncs, kernels_created; /* kernels or primitives made; constant in a steady state */
} sail_counters;

/* A way of computing a call, as the device was seen to run it. */
typedef struct sail_tried {
    const char *call, *way; /* what was computed and how, in the backend's words; strings live during the call of tell */
    double seconds, flops;  /* of one run; seconds < 0: it does not count, `problem` says why */
    const char *problem;    /* or NULL */
    bool chosen;            /* the call's last row: this way is kept */
} sail_tried;
typedef void sail_tell_tried(void *user, const sail_tried *row);

/* What one kernel did, summed over its starts. */
typedef struct sail_kernel_use {
    char name[48];     /* of the kernel */
    char variant[192]; /* what it was specialised to; may be "" */
    sail_op op;        /* for which it ran */
    uint64_t calls;
    double seconds, flops, bytes; /* a multiply-add is 2 flops; bytes that must be read and written at least */
} sail_kernel_use;

typedef struct sail_backend {
    uint32_t size; /* sizeof(sail_backend) */

    /* Devices in order of preference; writes at most cap, *n is how many there are. */
    sail_code (*devices)(sail_ctx *ctx, const void *options, sail_device_info *out, int cap, int *n, sail_err *err);

    /* options: the plugin's option struct, copied if needed. */
    sail_code (*open)(sail_ctx *ctx, const void *options, int index, sail_device **out, sail_err *err);
    void (*close)(sail_device *d); /* all buffers were freed before */
    void (*info)(sail_device *d, sail_device_info *out);

    /* bytes > 0. Contents are undefined. SAIL_E_NOMEM names the sizes. */
    sail_code (*alloc)(sail_device *d, uint64_t bytes, sail_buffer **out, sail_err *err);
    void (*free)(sail_device *d, sail_buffer *b); /* waits for nothing; the backend keeps it until work on it is done */

    /* src may change as soon as upload returns. */
    sail_code (*upload)(sail_device *d, sail_buffer *b, uint64_t offset, const void *src, uint64_t bytes, sail_err *err);
    /* Waits for all work given before, then fills dst. */
    sail_code (*download)(sail_device *d, sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err);
    sail_code (*copy)(sail_device *d, sail_buffer *to, uint64_t to_offset, sail_buffer *from, uint64_t from_offset,
                      uint64_t bytes, sail_err *err);

    /* Whether the call (shapes, dtypes, attributes) can run here. Buffers may be any non-NULL pointers. The host may be newer than the
     * backend: an op that its headers do not have, or an operand, an output or a bit of `want` more than it knows, is false. */
    bool (*supports)(sail_device *d, const sail_call *call);
    /* Run calls in order. An error names the op; what ran before it stays done. */
    sail_code (*run)(sail_device *d, const sail_call *calls, size_t n, sail_err *err);
    sail_code (*sync)(sail_device *d, sail_err *err);
    void (*counters)(sail_device *d, sail_counters *out);

    /* May be NULL. Time per op since the last call, for profiles: seconds and calls, arrays of SAIL_OP_COUNT. */
    void (*profile)(sail_device *d, double *seconds, uint64_t *calls);

    /* These three may be NULL: a device that computes a call always in the same way.
     * What the device chose among ways that differ in the last bits, for checkpoints: writes at most room bytes, *n is how many there
     * are. load takes the place of all choices made before; of another device, driver or version it is logged and left alone. */
    sail_code (*choices_save)(sail_device *d, void *out, size_t room, size_t *n, sail_err *err);
    sail_code (*choices_load)(sail_device *d, const void *data, size_t n, sail_err *err);
    /* Try the ways of a call (shapes, dtypes, attributes; buffers are not read), verify each, keep the best for later runs. */
    sail_code (*tune)(sail_device *d, const sail_call *call, sail_tell_tried *tell, void *user, sail_err *err);

    /* The next three may be NULL (and are for backends older than they). Measure kernels from now on, or no more; NULL: profile
     * needs no preparation. Waits for all work. */
    sail_code (*profiling)(sail_device *d, bool on, sail_err *err);
    /* Kernels used since the last call, in no order: writes at most cap, *n is how many there are. When cap is enough the counts begin
     * anew. Counts what is done, so call sync before. */
    void (*kernels)(sail_device *d, sail_kernel_use *out, int cap, int *n);
    /* What the device can do: float32 multiply-adds (flops: 2 each) and bytes of memory a second, measured now, in less than a second. */
    sail_code (*limits)(sail_device *d, double *flops, double *bytes, sail_err *err);
} sail_backend;

#ifdef __cplusplus
}
#endif
#endif
