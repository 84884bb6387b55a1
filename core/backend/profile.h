/* profile.h - where a device's time goes: kernels with their flops, bytes and share of what the device can do, and what crosses
 * between host and device.
 *
 * Floor: backend. Threads: one. Ownership: a profile owns its rows; free it before the runtime is closed. */
#ifndef SAIL_PROFILE_H
#define SAIL_PROFILE_H

#include "../base/node.h"
#include "exec.h"

/* Transfers between host and device. */
typedef struct sail__traffic {
    uint64_t uploads, downloads, upload_bytes, download_bytes;
} sail__traffic;
void sail__traffic_now(sail_runtime *rt, sail__traffic *out);
/* to += b - a */
void sail__traffic_add(sail__traffic *to, const sail__traffic *a, const sail__traffic *b);

/* A part of the work whose transfers are told apart: "training step", "decoded token". */
typedef struct sail__profile_part {
    const char *name;
    double n; /* how many of them */
    sail__traffic traffic;
} sail__profile_part;

enum { SAIL__PROFILE_PARTS = 4 };

typedef struct sail__profile {
    sail_runtime *rt;
    sail_kernel_use *rows; /* of a backend that knows no kernels: one for each op, without flops and bytes */
    size_t n, cap;
    sail_kernel_use *taken;
    size_t cap_taken;
    double flops, bytes; /* the device's limits, a second; 0: not known */
    double seconds;      /* of the host's clock, over what was counted */
    double started;
    uint64_t kernels_before, kernels_made; /* compiled in what was counted */
    sail__profile_part parts[SAIL__PROFILE_PARTS];
    int n_parts;
} sail__profile;

/* Measures the device's limits and begins to measure kernels. */
sail_code sail__profile_open(sail__profile *p, sail_runtime *rt, sail_err *err);
void sail__profile_close(sail__profile *p); /* of zeros: nothing */
/* What is done between begin and end is counted; what is done elsewhere is not. Both wait for the device. */
sail_code sail__profile_begin(sail__profile *p, sail_err *err);
sail_code sail__profile_end(sail__profile *p, sail_err *err);
/* n more of the part, and their transfers. */
void sail__profile_part_add(sail__profile *p, const char *name, double n, const sail__traffic *t);

/* {device, seconds, limits, transfers: [], kernels: []}, kernels by time; NULL: no memory. */
sail_node *sail__profile_node(const sail__profile *p, sail_arena *a);
/* A table for people; times as they are, not per step. */
void sail__profile_text(const sail__profile *p, sail_buf *out);

#endif
