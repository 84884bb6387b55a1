/* tfevents.h - TensorBoard event files, scalars only.
 *
 * Floor: io. Threads: one a writer. A file is a sequence of records (u64 length, masked CRC32C of the length, data, masked
 * CRC32C of the data); data is a protobuf Event {1 wall_time double, 2 step int64, 3 file_version string, 5 Summary
 * {1 Value {1 tag string, 2 simple_value float}}}. A record is written with one call and is whole or (after a kill)
 * the file's last, which the reader and the next writer drop. */
#ifndef SAIL_TFEVENTS_H
#define SAIL_TFEVENTS_H

#include "../base/base.h"

typedef struct sail__tfevents sail__tfevents;

/* DIR/events.out.tfevents.TIME.sail.LABEL (label: stage; letters, digits, - _). Where DIR has such a file already it is
 * continued, after taking back what is beyond `step` (rewritten beside and renamed); step -1 begins anew. */
sail_code sail__tfevents_open(const char *dir, const char *label, int64_t step, sail__tfevents **out, sail_err *err);
/* One event with all values; non-finite ones are written as they are. */
sail_code sail__tfevents_add(sail__tfevents *w, int64_t step, const char *const *tags, const double *values, size_t n,
                             sail_err *err);
sail_code sail__tfevents_close(sail__tfevents *w, sail_err *err); /* flushes to the disk; NULL is fine */

typedef struct sail__tfevent {
    double wall_time;
    int64_t step;
    const char *file_version; /* NULL but in the first record */
    size_t n;
    const char **tags;
    float *values;
} sail__tfevent;
/* All whole records. *bytes (may be NULL): how far they reach; shorter than the file when its last record was cut off.
 * A wrong checksum before the end: SAIL_E_FORMAT with the offset. */
sail_code sail__tfevents_read(sail_arena *a, const char *path, sail__tfevent **out, size_t *n, uint64_t *bytes,
                              sail_err *err);
uint32_t sail__crc32c(uint32_t crc, const void *data, size_t n); /* Castagnoli; crc 0 to begin */

#endif
