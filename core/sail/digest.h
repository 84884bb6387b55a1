/* digest.h - SHA-256 and SHA-1 (FIPS 180-4) of bytes that come in pieces. Since ABI 1.1.
 *
 * Floor: base. Threads: one a digest. Ownership: a digest is plain memory of its user's, its members are the host's.
 * SHA-1 is for what git names by it: it guards against broken transfers, not against who means to deceive. */
#ifndef SAIL_DIGEST_H
#define SAIL_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sail_digest_kind {
    SAIL_SHA1,
    SAIL_SHA256,
    SAIL_SHA256_PLAIN, /* the same without instructions that not all processors have: for tests */
} sail_digest_kind;

typedef struct sail_digest {
    sail_digest_kind kind;
    void (*add_block)(uint32_t state[8], const unsigned char *block); /* as fast as this processor can */
    uint32_t state[8];
    uint64_t bytes;
    unsigned char block[64]; /* what has come of one that is not whole */
} sail_digest;

void sail_digest_begin(sail_digest *d, sail_digest_kind kind);
void sail_digest_add(sail_digest *d, const void *data, size_t n);
/* Of all that has come; more may be added after. 20 bytes of SHA-1, 32 of SHA-256: how many. */
size_t sail_digest_bytes(const sail_digest *d, unsigned char out[32]);
void sail_digest_hex(const sail_digest *d, char hex[65]); /* the same in hexadecimal, and a NUL */

#ifdef __cplusplus
}
#endif
#endif
