/* dtype.c - the table of data types, and conversion of the plain ones. Block types are in quant.c. */
#include <string.h>
#include <strings.h>

#include "../sail/tensor.h"
#include "half.h"
#include "quant.h"

static const struct {
    const char *name;
    size_t bytes, elements;
} table[] = {
#define DTYPE(name, text, bytes, elements) {text, bytes, elements},
    SAIL_DTYPES(DTYPE)
#undef DTYPE
};

const char *sail_dtype_name(sail_dtype t)
{
    return (unsigned)t < SAIL_DTYPE_COUNT ? table[t].name : "unknown";
}

bool sail_dtype_parse(const char *name, sail_dtype *out)
{
    /* as Hugging Face's configurations write them */
    static const struct {
        const char *name;
        sail_dtype t;
    } also[] = {{"float32", SAIL_F32}, {"bfloat16", SAIL_BF16}, {"float16", SAIL_F16}, {"float64", SAIL_F64},
                {"int32", SAIL_I32},   {"int64", SAIL_I64},     {"uint8", SAIL_U8}};
    for (int t = 0; t < SAIL_DTYPE_COUNT; t++)
        if (strcasecmp(name, table[t].name) == 0) {
            *out = (sail_dtype)t;
            return true;
        }
    for (size_t i = 0; i < sizeof also / sizeof *also; i++)
        if (strcasecmp(name, also[i].name) == 0) {
            *out = also[i].t;
            return true;
        }
    return false;
}

size_t sail_dtype_block_bytes(sail_dtype t)
{
    return (unsigned)t < SAIL_DTYPE_COUNT ? table[t].bytes : 0;
}

size_t sail_dtype_block_elements(sail_dtype t)
{
    return (unsigned)t < SAIL_DTYPE_COUNT ? table[t].elements : 0;
}

bool sail_dtype_is_quantised(sail_dtype t)
{
    return sail_dtype_block_elements(t) > 1;
}

size_t sail_dtype_bytes(sail_dtype t, uint64_t n)
{
    size_t elements = sail_dtype_block_elements(t), bytes;
    if (elements == 0 || n % elements != 0 || __builtin_mul_overflow(n / elements, table[t].bytes, &bytes))
        return SIZE_MAX;
    return bytes;
}

static sail_code whole_blocks(sail_dtype t, size_t n, sail_err *err)
{
    if ((unsigned)t >= SAIL_DTYPE_COUNT)
        return sail_fail(err, SAIL_E_DTYPE, "there is no data type number %d", (int)t);
    if (n % table[t].elements != 0)
        return sail_fail(err, SAIL_E_SHAPE, "%zu elements of type %s: a multiple of %zu is wanted", n, table[t].name,
                         table[t].elements);
    return SAIL_OK;
}

sail_code sail_to_f32(sail_dtype t, const void *src, float *dst, size_t n, sail_err *err)
{
    SAIL_TRY(whole_blocks(t, n, err));
    const unsigned char *s = src;
    uint16_t h;
    double d;
    switch (t) {
    case SAIL_F32:
        if (n)
            memmove(dst, src, n * sizeof *dst);
        return SAIL_OK;
    case SAIL_BF16:
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, s + 2 * i, 2);
            dst[i] = sail_bf16_to_f32(h);
        }
        return SAIL_OK;
    case SAIL_F16:
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, s + 2 * i, 2);
            dst[i] = sail__f16_to_f32(h);
        }
        return SAIL_OK;
    case SAIL_F64:
        for (size_t i = 0; i < n; i++) {
            memcpy(&d, s + 8 * i, 8);
            dst[i] = (float)d;
        }
        return SAIL_OK;
    default:
        if (sail__dequantise(t, s, dst, n))
            return SAIL_OK;
        return sail_fail(err, SAIL_E_DTYPE, "%s cannot be converted to f32", table[t].name);
    }
}

sail_code sail_from_f32(sail_dtype t, const float *src, void *dst, size_t n, sail_err *err)
{
    SAIL_TRY(whole_blocks(t, n, err));
    unsigned char *to = dst;
    switch (t) {
    case SAIL_F32:
        if (n)
            memmove(dst, src, n * sizeof *src);
        return SAIL_OK;
    case SAIL_BF16:
        for (size_t i = 0; i < n; i++)
            memcpy(to + 2 * i, &(uint16_t){sail_f32_to_bf16(src[i])}, 2);
        return SAIL_OK;
    case SAIL_F16:
        for (size_t i = 0; i < n; i++)
            memcpy(to + 2 * i, &(uint16_t){sail__f32_to_f16(src[i])}, 2);
        return SAIL_OK;
    case SAIL_F64:
        for (size_t i = 0; i < n; i++)
            memcpy(to + 8 * i, &(double){src[i]}, 8);
        return SAIL_OK;
    default:
        return sail__quantise(t, src, to, n, err);
    }
}
