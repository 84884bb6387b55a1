/* convert.c - values of any type from and to float32. Block types are in quant.c. */
#include <string.h>

#include "../sail/tensor.h"
#include "half.h"
#include "quant.h"

static sail_code whole_blocks(sail_dtype t, size_t n, sail_err *err)
{
    if ((unsigned)t >= SAIL_DTYPE_COUNT)
        return sail_fail(err, SAIL_E_DTYPE, "there is no data type number %d", (int)t);
    if (n % sail_dtype_block_elements(t) != 0)
        return sail_fail(err, SAIL_E_SHAPE, "%zu elements of type %s: a multiple of %zu is wanted", n, sail_dtype_name(t),
                         sail_dtype_block_elements(t));
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
        return sail_fail(err, SAIL_E_DTYPE, "%s cannot be converted to f32", sail_dtype_name(t));
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
