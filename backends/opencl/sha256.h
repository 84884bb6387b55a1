/* sha256.h - SHA-256 (FIPS 180-4), for the names of cached programs. */
#ifndef OCL_SHA256_H
#define OCL_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct ocl_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64];
} ocl_sha256;

void ocl_sha256_begin(ocl_sha256 *s);
void ocl_sha256_add(ocl_sha256 *s, const void *data, size_t n);
void ocl_sha256_end(ocl_sha256 *s, unsigned char out[32]);

#endif
