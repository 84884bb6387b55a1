/* quant.c - block types of GGUF: values from blocks, and the reference quantisation.
 *
 * Source of the layouts: GGUF's specification and the statement of each block in gguf-py. Small blocks hold 32 values:
 * scale d (f16), for _1 types a least value m (f16), fifth bits, then 4-bit codes, code j and code j + 16 in one byte.
 * K blocks hold 256 values in sub-blocks of 16 or 32 with integer scales of their own. */
#include <math.h>
#include <string.h>

#include "half.h"
#include "quant.h"

static float half_at(const unsigned char *p)
{
    return sail__f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

static void put_half(unsigned char *p, uint16_t h)
{
    p[0] = (unsigned char)h, p[1] = (unsigned char)(h >> 8);
}

static uint32_t word_at(const unsigned char *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- blocks of 32 ---- */

static void q8_0(const unsigned char *b, float *y)
{
    float d = half_at(b);
    for (int j = 0; j < 32; j++)
        y[j] = (float)(int8_t)b[2 + j] * d;
}

/* y = code * d + m, where code has bit 4 from `fifth` */
static void nibbles(const unsigned char *codes, uint32_t fifth, int zero, float d, float m, float *y)
{
    for (int j = 0; j < 32; j++) {
        int code = (j < 16 ? codes[j] & 15 : codes[j - 16] >> 4) | (int)(fifth >> j & 1) << 4;
        y[j] = (float)(code - zero) * d + m;
    }
}

static void q4_0(const unsigned char *b, float *y)
{
    nibbles(b + 2, 0, 8, half_at(b), 0, y);
}

static void q4_1(const unsigned char *b, float *y)
{
    nibbles(b + 4, 0, 0, half_at(b), half_at(b + 2), y);
}

static void q5_0(const unsigned char *b, float *y)
{
    nibbles(b + 6, word_at(b + 2), 16, half_at(b), 0, y);
}

static void q5_1(const unsigned char *b, float *y)
{
    nibbles(b + 8, word_at(b + 4), 0, half_at(b), half_at(b + 2), y);
}

/* ---- blocks of 256 ---- */

/* scales[16] (4 bits scale, 4 bits least), codes[64] of 2 bits, d, least */
static void q2_k(const unsigned char *b, float *y)
{
    float d = half_at(b + 80), least = half_at(b + 82);
    for (int i = 0; i < 256; i++) {
        /* two halves of 128; in each, 2-bit plane p of 32 bytes holds values 32p … 32p + 31 */
        int code = b[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        unsigned char s = b[i / 16];
        y[i] = d * (float)(s & 15) * (float)code - least * (float)(s >> 4);
    }
}

/* high[32] (third bits, inverted), codes[64], scales[12] (16 of 6 bits, less 32), d */
static void q3_k(const unsigned char *b, float *y)
{
    const unsigned char *scales = b + 96;
    float d = half_at(b + 108);
    for (int i = 0; i < 256; i++) {
        int k = i / 16;
        int low = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;
        int scale = (low | (scales[8 + k % 4] >> (k / 4 * 2) & 3) << 4) - 32;
        int code = b[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        if (!(b[i % 32] >> (i / 32) & 1))
            code -= 4;
        y[i] = d * (float)scale * (float)code;
    }
}

/* Scale and least of sub-block k (of 8) out of 12 bytes: 6 bits each. */
static void scale_least(const unsigned char *s, int k, int *scale, int *least)
{
    if (k < 4) {
        *scale = s[k] & 63;
        *least = s[k + 4] & 63;
    } else {
        *scale = (s[k + 4] & 15) | s[k - 4] >> 6 << 4;
        *least = s[k + 4] >> 4 | s[k] >> 6 << 4;
    }
}

/* d, least, scales[12], (Q5: fifth bits[32]), codes[128]: 64 values in 32 bytes, the first 32 in the low halves */
static void q45_k(const unsigned char *b, const unsigned char *fifth, const unsigned char *codes, float *y)
{
    float d = half_at(b), dmin = half_at(b + 2);
    for (int k = 0; k < 8; k++) {
        int scale, least;
        scale_least(b + 4, k, &scale, &least);
        float ds = d * (float)scale, m = dmin * (float)least;
        for (int j = 0; j < 32; j++) {
            int code = codes[k / 2 * 32 + j] >> (k % 2 * 4) & 15;
            if (fifth)
                code |= (fifth[j] >> k & 1) << 4;
            y[32 * k + j] = ds * (float)code - m;
        }
    }
}

static void q4_k(const unsigned char *b, float *y)
{
    q45_k(b, NULL, b + 16, y);
}

static void q5_k(const unsigned char *b, float *y)
{
    q45_k(b, b + 16, b + 48, y);
}

/* low[128], high[64], scales[16] (signed), d */
static void q6_k(const unsigned char *b, float *y)
{
    float d = half_at(b + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, r = i % 128;
        int low = b[half * 64 + r % 64] >> (r / 64 * 4) & 15;
        int high = b[128 + half * 32 + r % 32] >> (r / 32 * 2) & 3;
        y[i] = d * (float)(int8_t)b[192 + i / 16] * (float)((low | high << 4) - 32);
    }
}

/* ---- codes that stand for unevenly spaced values ---- */

/* 32 values: codes j and j + 16 in one byte, each standing for a value, times d */
static void uneven(const unsigned char *codes, float d, float *y)
{
    static const signed char values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    for (int j = 0; j < 32; j++)
        y[j] = d * (float)values[j < 16 ? codes[j] & 15 : codes[j - 16] >> 4];
}

static void iq4_nl(const unsigned char *b, float *y)
{
    uneven(b + 2, half_at(b), y);
}

/* d, high[2] (two bits of each scale), low[4] (four bits), codes[128]; 8 sub-blocks of 32 with scales of 6 bits, less 32 */
static void iq4_xs(const unsigned char *b, float *y)
{
    float d = half_at(b);
    for (int k = 0; k < 8; k++) {
        int low = b[4 + k / 2] >> (k % 2 * 4) & 15, high = (b[2] | b[3] << 8) >> (2 * k) & 3;
        uneven(b + 8 + 16 * k, d * (float)((low | high << 4) - 32), y + 32 * k);
    }
}

bool sail__dequantise(sail_dtype t, const unsigned char *src, float *dst, size_t n)
{
    static void (*const rows[SAIL_DTYPE_COUNT])(const unsigned char *, float *) = {
        [SAIL_Q8_0] = q8_0, [SAIL_Q4_0] = q4_0, [SAIL_Q4_1] = q4_1, [SAIL_Q5_0] = q5_0, [SAIL_Q5_1] = q5_1,
        [SAIL_Q2_K] = q2_k, [SAIL_Q3_K] = q3_k, [SAIL_Q4_K] = q4_k, [SAIL_Q5_K] = q5_k, [SAIL_Q6_K] = q6_k,
        [SAIL_IQ4_NL] = iq4_nl, [SAIL_IQ4_XS] = iq4_xs,
    };
    if ((unsigned)t >= SAIL_DTYPE_COUNT || !rows[t])
        return false;
    size_t bytes = sail_dtype_block_bytes(t), elements = sail_dtype_block_elements(t);
    for (; n >= elements; n -= elements, src += bytes, dst += elements)
        rows[t](src, dst);
    return true;
}

/* ---- writing ---- */

static int clamp(float x, int most)
{
    return x < 0 ? 0 : x > (float)most ? most : (int)x;
}

/* Codes of `bits` bits; symmetric (_0: the value of largest magnitude gets the lowest code) or affine (_1). */
static void put_nibbles(const float *x, int bits, bool affine, unsigned char *b)
{
    float least = x[0], most = x[0], top = x[0];
    for (int j = 1; j < 32; j++) {
        least = x[j] < least ? x[j] : least;
        most = x[j] > most ? x[j] : most;
        top = fabsf(x[j]) > fabsf(top) ? x[j] : top;
    }
    int levels = 1 << bits;
    float d = affine ? (most - least) / (float)(levels - 1) : top / (float)(-levels / 2);
    float inverse = d != 0 ? 1.0f / d : 0.0f;
    uint32_t fifth = 0;
    unsigned char *codes = b + 2 + (affine ? 2 : 0) + (bits == 5 ? 4 : 0);
    put_half(b, sail__f32_to_f16(d));
    if (affine)
        put_half(b + 2, sail__f32_to_f16(least));
    memset(codes, 0, 16);
    for (int j = 0; j < 32; j++) {
        float scaled = affine ? (x[j] - least) * inverse + 0.5f : x[j] * inverse + ((float)(levels / 2) + 0.5f);
        int code = clamp(scaled, levels - 1);
        codes[j % 16] |= (unsigned char)((code & 15) << (j / 16 * 4));
        fifth |= (uint32_t)(code >> 4) << j;
    }
    if (bits == 5)
        for (int i = 0; i < 4; i++)
            codes[i - 4] = (unsigned char)(fifth >> (8 * i));
}

static void put_q8_0(const float *x, unsigned char *b)
{
    float top = 0;
    for (int j = 0; j < 32; j++)
        top = fabsf(x[j]) > top ? fabsf(x[j]) : top;
    float d = top / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
    put_half(b, sail__f32_to_f16(d));
    for (int j = 0; j < 32; j++)
        b[2 + j] = (unsigned char)(int8_t)(roundf(x[j] * inverse));
}

sail_code sail__quantise(sail_dtype t, const float *src, unsigned char *dst, size_t n, sail_err *err)
{
    if (t != SAIL_Q8_0 && t != SAIL_Q4_0 && t != SAIL_Q4_1 && t != SAIL_Q5_0 && t != SAIL_Q5_1)
        return sail_fail(err, SAIL_E_DTYPE, "%s cannot be written; f32, bf16, f16, f64, q8_0, q4_0, q4_1, q5_0, q5_1 can",
                         sail_dtype_name(t));
    size_t bytes = sail_dtype_block_bytes(t);
    for (size_t i = 0; i + 32 <= n; i += 32, src += 32, dst += bytes) {
        float top = 0;
        for (int j = 0; j < 32; j++) {
            if (!isfinite(src[j]))
                return sail_fail(err, SAIL_E_NUMERIC, "element %zu is %g and cannot be written as %s", i + (size_t)j,
                                 (double)src[j], sail_dtype_name(t));
            top = fabsf(src[j]) > top ? fabsf(src[j]) : top;
        }
        bool affine = t == SAIL_Q4_1 || t == SAIL_Q5_1;
        if (t == SAIL_Q8_0)
            put_q8_0(src, dst);
        else
            put_nibbles(src, t == SAIL_Q5_0 || t == SAIL_Q5_1 ? 5 : 4, affine, dst);
        if (!isfinite(half_at(dst)) || (affine && !isfinite(half_at(dst + 2))))
            return sail_fail(err, SAIL_E_NUMERIC, "elements from %zu on (largest %g) have a scale that %s cannot hold", i,
                             (double)top, sail_dtype_name(t));
    }
    return SAIL_OK;
}
