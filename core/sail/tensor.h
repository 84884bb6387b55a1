/* tensor.h - data types, shapes, and views of device memory.
 *
 * Floor: tensor. Threads: any; all functions are pure. A sail_tensor owns nothing: its buffer belongs to whoever
 * allocated it, the bytes to the backend. Nothing above the backend holds a host pointer to device memory. */
#ifndef SAIL_TENSOR_H
#define SAIL_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* DTYPE(name, text, bytes of a block, elements of a block). Block types are legal as frozen operands of
 * EMBED, MATMUL and HEAD only. Names as in GGUF; layouts little-endian as there. */
#define SAIL_DTYPES(DTYPE)                                                                                             \
    DTYPE(F32, "f32", 4, 1)                                                                                            \
    DTYPE(BF16, "bf16", 2, 1)                                                                                          \
    DTYPE(F16, "f16", 2, 1)                                                                                            \
    DTYPE(F64, "f64", 8, 1)                                                                                            \
    DTYPE(I32, "i32", 4, 1)                                                                                            \
    DTYPE(I64, "i64", 8, 1)                                                                                            \
    DTYPE(U8, "u8", 1, 1)                                                                                              \
    DTYPE(Q8_0, "q8_0", 34, 32)                                                                                        \
    DTYPE(Q4_0, "q4_0", 18, 32)                                                                                        \
    DTYPE(Q4_1, "q4_1", 20, 32)                                                                                        \
    DTYPE(Q5_0, "q5_0", 22, 32)                                                                                        \
    DTYPE(Q5_1, "q5_1", 24, 32)                                                                                        \
    DTYPE(Q2_K, "q2_k", 84, 256)                                                                                       \
    DTYPE(Q3_K, "q3_k", 110, 256)                                                                                      \
    DTYPE(Q4_K, "q4_k", 144, 256)                                                                                      \
    DTYPE(Q5_K, "q5_k", 176, 256)                                                                                      \
    DTYPE(Q6_K, "q6_k", 210, 256)                                                                                      \
    DTYPE(IQ4_NL, "iq4_nl", 18, 32)                                                                                    \
    DTYPE(IQ4_XS, "iq4_xs", 136, 256)

typedef enum sail_dtype {
#define DTYPE(name, text, bytes, elements) SAIL_##name,
    SAIL_DTYPES(DTYPE)
#undef DTYPE
        SAIL_DTYPE_COUNT
} sail_dtype;

const char *sail_dtype_name(sail_dtype t);
bool sail_dtype_parse(const char *name, sail_dtype *out);
size_t sail_dtype_block_bytes(sail_dtype t);
size_t sail_dtype_block_elements(sail_dtype t);
bool sail_dtype_is_quantised(sail_dtype t);
/* Bytes of n elements; SIZE_MAX on overflow or when n is no multiple of the block. */
size_t sail_dtype_bytes(sail_dtype t, uint64_t n);

/* n values to or from float32, rounding to nearest even; NaN stays NaN. F32, BF16, F16, F64 and every block type can be
 * read; F32, BF16, F16, F64, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 can be written (the reference quantisation of GGUF).
 * n is a multiple of the block. */
sail_code sail_to_f32(sail_dtype t, const void *src, float *dst, size_t n, sail_err *err);
sail_code sail_from_f32(sail_dtype t, const float *src, void *dst, size_t n, sail_err *err);

static inline float sail_bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = {(uint32_t)h << 16};
    return v.f;
}
static inline uint16_t sail_f32_to_bf16(float f)
{
    union { float f; uint32_t u; } v = {f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((v.u >> 16) | 0x40u);
    return (uint16_t)((v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16);
}

/* A piece of device memory: an opaque handle of one backend's device. */
typedef struct sail_buffer sail_buffer;

/* A view: rows of `cols` elements, `ld` elements apart (ld >= cols; block types: ld == cols). A vector is one row, or
 * cols == 1, as the op's comment says. rows or cols may be 0: then there is nothing to do. */
typedef struct sail_tensor {
    sail_buffer *buffer; /* NULL: an absent optional operand */
    uint64_t offset;     /* bytes; a multiple of the device's alignment unless it is a row or column view */
    int64_t rows, cols, ld;
    sail_dtype dtype;
} sail_tensor;

#ifdef __cplusplus
}
#endif
#endif
