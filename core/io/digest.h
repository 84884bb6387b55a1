/* digest.h - SHA-256 and SHA-1 (FIPS 180-4) of bytes that come in pieces: what the Hugging Face hub and git know files by.
 *
 * Floor: io. Threads: one a digest. For content that others name; our own hashes are XXH3 (hash.h). SHA-1 guards against broken
 * transfers alone, not against who means to deceive. */
#ifndef SAIL_DIGEST_H
#define SAIL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

typedef enum sail__digest_kind {
    SAIL__SHA1,
    SAIL__SHA256,
    SAIL__SHA256_PLAIN, /* the same without instructions that not all processors have: for tests */
} sail__digest_kind;

typedef struct sail__digest {
    sail__digest_kind kind;
    void (*add_block)(uint32_t state[8], const unsigned char *block); /* as fast as this processor can */
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64]; /* what has come of one that is not whole */
} sail__digest;

void sail__digest_begin(sail__digest *d, sail__digest_kind kind);
void sail__digest_add(sail__digest *d, const void *data, size_t n);
void sail__digest_hex(const sail__digest *d, char hex[65]); /* 40 digits of SHA-1, 64 of SHA-256, and a NUL; more may be added after */

#endif
