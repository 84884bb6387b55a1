/* device.h - a backend opened by name for tests, and random matrices. */
#ifndef CONFORMANCE_DEVICE_H
#define CONFORMANCE_DEVICE_H

#include "backend/exec.h"

typedef struct device {
    sail_ctx *ctx;
    sail_arena *arena;
    sail_slot slot;
    sail_runtime *rt;
    sail_code code; /* why it could not be opened */
} device;

/* which: as sail__runtime_open takes it. options: "key=value" strings. Prints what is wrong and returns false when it cannot be opened. */
bool device_open(device *d, const char *backend, const char *which, const char *const *options, int n_options);
void device_close(device *d);

/* The same numbers for the same seed and index on every machine: uniform in [-1, 1). */
double noise(uint64_t seed, uint64_t i);

#endif
