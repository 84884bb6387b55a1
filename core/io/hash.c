/* hash.c - XXH3-128 over a sequence of values. */
#include "hash.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void sail__hasher_begin(sail__hasher *h)
{
    XXH3_INITSTATE(&h->state);
    XXH3_128bits_reset(&h->state);
}

void sail__hasher_raw(sail__hasher *h, const void *data, size_t n)
{
    if (n)
        XXH3_128bits_update(&h->state, data, n);
}

void sail__hasher_bytes(sail__hasher *h, const void *data, size_t n)
{
    uint64_t length = n;
    sail__hasher_raw(h, &length, sizeof length);
    sail__hasher_raw(h, data, n);
}

void sail__hasher_text(sail__hasher *h, const char *text)
{
    sail__hasher_bytes(h, text, text ? strlen(text) : 0);
}

void sail__hasher_integer(sail__hasher *h, int64_t v)
{
    sail__hasher_raw(h, &v, sizeof v);
}

void sail__hasher_number(sail__hasher *h, double v)
{
    if (isnan(v))
        v = (double)NAN;
    sail__hasher_raw(h, &v, sizeof v);
}

void sail__hasher_hex(const sail__hasher *h, char hex[33])
{
    XXH128_hash_t d = XXH3_128bits_digest(&h->state);
    snprintf(hex, 33, "%016llx%016llx", (unsigned long long)d.high64, (unsigned long long)d.low64);
}
