/* hash.h - XXH3-128 over a sequence of values, each with its length, so that no two sequences look alike.
 *
 * Floor: io. Threads: one a hasher. */
#ifndef SAIL_HASH_H
#define SAIL_HASH_H

#include <stddef.h>
#include <stdint.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size, to have it on the stack */
#include <xxhash.h>

typedef struct sail__hasher {
    XXH3_state_t state;
} sail__hasher;

void sail__hasher_begin(sail__hasher *h);
void sail__hasher_raw(sail__hasher *h, const void *data, size_t n); /* bytes alone, as of a file */
void sail__hasher_bytes(sail__hasher *h, const void *data, size_t n); /* with their number */
void sail__hasher_text(sail__hasher *h, const char *text); /* NULL as "" */
void sail__hasher_integer(sail__hasher *h, int64_t v);
void sail__hasher_number(sail__hasher *h, double v); /* all NaN alike */
void sail__hasher_hex(const sail__hasher *h, char hex[33]);

#endif
