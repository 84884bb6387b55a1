/* half.h - one IEEE binary16 number to and from float32, in plain C: subnormals, infinities and NaN included.
 *
 * Floor: tensor. Threads: any. */
#ifndef SAIL_HALF_H
#define SAIL_HALF_H

#include <stdint.h>
#include <string.h>

static inline float sail__f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, fraction = h & 0x3ffu, u;
    float f;
    if (exponent == 0) {
        f = (float)fraction * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= sign;
    } else if (exponent == 31) {
        u = sign | 0x7f800000u | fraction << 13;
    } else {
        u = sign | (exponent + 112) << 23 | fraction << 13;
    }
    memcpy(&f, &u, 4);
    return f;
}

/* To nearest, ties to even; from 65520 on infinity. */
static inline uint16_t sail__f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (a >= 0x38800000u) /* 2^-14: normal */
        return (uint16_t)(sign | (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13);
    if (a < 0x33000000u) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    uint32_t shift = 126 - (a >> 23), m = (a & 0x7fffffu) | 0x800000u; /* in units of 2^-24 after the shift */
    uint32_t half = 1u << (shift - 1), q = m >> shift, rest = m & ((1u << shift) - 1);
    return (uint16_t)(sign | (q + (rest > half || (rest == half && (q & 1)))));
}

#endif
