/* vec.h - vectors of float32: AVX-512, AVX2 with FMA, or plain C (the compiler's own 16-byte vectors).
 *
 * Kernels are written once over these names and compiled once for each instruction set (meson.build); K(name) gives each
 * copy its own symbol. VL is the number of lanes. Partial loads fill with 0. vmax and vmin return their second operand
 * when either is NaN, so vmax(limit, x) keeps the NaN of x. */
#ifndef CPU_VEC_H
#define CPU_VEC_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define CPU_CAT_(a, b) cpu_##a##_##b
#define CPU_CAT(a, b) CPU_CAT_(a, b)
#define K(name) CPU_CAT(name, CPU_ISA)

#define INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
enum { VL = 16 };
typedef __m512 vf;
typedef __m512i vi;
INLINE vf vset(float x) { return _mm512_set1_ps(x); }
INLINE vf vzero(void) { return _mm512_setzero_ps(); }
INLINE vf vload(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vstore(float *p, vf v) { _mm512_storeu_ps(p, v); }
INLINE __mmask16 vtail(int n) { return (__mmask16)((1u << n) - 1u); }
INLINE vf vload_part(const float *p, int n) { return _mm512_maskz_loadu_ps(vtail(n), p); }
INLINE void vstore_part(float *p, vf v, int n) { _mm512_mask_storeu_ps(p, vtail(n), v); }
INLINE vf vwiden(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
INLINE vf vload_bf16(const uint16_t *p) { return vwiden(_mm256_loadu_si256((const void *)p)); }
INLINE vf vload_bf16_part(const uint16_t *p, int n) { return vwiden(_mm256_maskz_loadu_epi16(vtail(n), p)); }
/* to nearest even, subnormals kept, NaN stays NaN: as sail_f32_to_bf16 */
INLINE __m256i vnarrow(vf v)
{
    __m512i u = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, odd), _mm512_set1_epi32(0x7fff)), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    r = _mm512_mask_or_epi32(r, nan, _mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
    return _mm512_cvtepi32_epi16(r);
}
INLINE void vstore_bf16(uint16_t *p, vf v) { _mm256_storeu_si256((void *)p, vnarrow(v)); }
INLINE void vstore_bf16_part(uint16_t *p, vf v, int n) { _mm256_mask_storeu_epi16(p, vtail(n), vnarrow(v)); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vnfma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
INLINE vf vmax(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf vmin(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vf vsqrt(vf a) { return _mm512_sqrt_ps(a); }
INLINE vf vround(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vscale2(vf a, vf n) { return _mm512_scalef_ps(a, n); } /* a 2^n, n whole */
INLINE vf vselect_less(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
INLINE vf vabs(vf a) { return _mm512_abs_ps(a); }
/* Transpose VL x VL 32-bit units held in r. */
INLINE void vtranspose(vf *r)
{
    vf t[16];
    UNROLL for (int i = 0; i < 16; i += 4) {
        vf a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        vf c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        vf a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        vf c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}
/* rows 2j and 2j+1 of bf16 into units (low: first row) for 2 VL columns; order of columns kept */
INLINE void vinterleave(const uint16_t *a, const uint16_t *b, uint32_t *to)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)a));
    __m512i y = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)b));
    _mm512_storeu_si512(to, _mm512_or_si512(x, _mm512_slli_epi32(y, 16)));
    x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(a + 16)));
    y = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(b + 16)));
    _mm512_storeu_si512(to + 16, _mm512_or_si512(x, _mm512_slli_epi32(y, 16)));
}

#elif defined(__AVX2__)
#include <immintrin.h>
enum { VL = 8 };
typedef __m256 vf;
typedef __m256i vi;
INLINE vf vset(float x) { return _mm256_set1_ps(x); }
INLINE vf vzero(void) { return _mm256_setzero_ps(); }
INLINE vf vload(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vstore(float *p, vf v) { _mm256_storeu_ps(p, v); }
INLINE __m256i vtail(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf vload_part(const float *p, int n) { return _mm256_maskload_ps(p, vtail(n)); }
INLINE void vstore_part(float *p, vf v, int n) { _mm256_maskstore_ps(p, vtail(n), v); }
INLINE vf vwiden(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
INLINE vf vload_bf16(const uint16_t *p) { return vwiden(_mm_loadu_si128((const void *)p)); }
INLINE vf vload_bf16_part(const uint16_t *p, int n)
{
    uint16_t t[8] = {0};
    for (int i = 0; i < n; i++)
        t[i] = p[i];
    return vload_bf16(t);
}
INLINE __m128i vnarrow(vf v)
{
    __m256i u = _mm256_castps_si256(v);
    __m256i high = _mm256_srli_epi32(u, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i r = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(u, odd), _mm256_set1_epi32(0x7fff)), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    r = _mm256_blendv_epi8(r, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(r), _mm256_extracti128_si256(r, 1));
}
INLINE void vstore_bf16(uint16_t *p, vf v) { _mm_storeu_si128((void *)p, vnarrow(v)); }
INLINE void vstore_bf16_part(uint16_t *p, vf v, int n)
{
    uint16_t t[8];
    vstore_bf16(t, v);
    for (int i = 0; i < n; i++)
        p[i] = t[i];
}
INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vnfma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
INLINE vf vmax(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf vmin(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vf vsqrt(vf a) { return _mm256_sqrt_ps(a); }
INLINE vf vround(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf vpower2(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
INLINE vf vscale2(vf a, vf n) /* in two steps, since 2^n alone may overflow or be subnormal */
{
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    return a * vpower2(half) * vpower2(_mm256_sub_epi32(whole, half));
}
INLINE vf vselect_less(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
INLINE vf vabs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE void vtranspose(vf *r)
{
    vf t[8];
    UNROLL for (int i = 0; i < 8; i += 4) {
        vf a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        vf c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#else
enum { VL = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
INLINE vf vset(float x) { return (vf){x, x, x, x}; }
INLINE vf vzero(void) { return (vf){0, 0, 0, 0}; }
INLINE vf vload(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void vstore(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf vload_part(const float *p, int n)
{
    vf v = vzero();
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
INLINE void vstore_part(float *p, vf v, int n)
{
    for (int i = 0; i < n; i++)
        p[i] = v[i];
}
INLINE vf vload_bf16(const uint16_t *p)
{
    vi v = {p[0], p[1], p[2], p[3]};
    return (vf)(v << 16);
}
INLINE vf vload_bf16_part(const uint16_t *p, int n)
{
    vi v = {0};
    for (int i = 0; i < n; i++)
        v[i] = p[i];
    return (vf)(v << 16);
}
INLINE vi vnarrow(vf v)
{
    typedef uint32_t vu __attribute__((vector_size(16)));
    vu u = (vu)v, r = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    vu nan = (vu)(v != v);
    return (vi)((r & ~nan) | (((u >> 16) | 0x40u) & nan));
}
INLINE void vstore_bf16_part(uint16_t *p, vf v, int n)
{
    vi r = vnarrow(v);
    for (int i = 0; i < n; i++)
        p[i] = (uint16_t)r[i];
}
INLINE void vstore_bf16(uint16_t *p, vf v) { vstore_bf16_part(p, v, 4); }
INLINE vf vfma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf vnfma(vf a, vf b, vf c) { return c - a * b; }
INLINE vf vpick(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
INLINE vf vmax(vf a, vf b) { return vpick(a > b, a, b); }
INLINE vf vmin(vf a, vf b) { return vpick(a < b, a, b); }
INLINE vf vsqrt(vf a)
{
    for (int i = 0; i < 4; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vf vround(vf a) /* |a| < 2^22 */
{
    vf big = vset(12582912.0f);
    return (a + big) - big;
}
INLINE vf vpower2(vi n) { return (vf)((n + 127) << 23); }
INLINE vf vscale2(vf a, vf n)
{
    vi whole = __builtin_convertvector(vpick(n == n, n, vzero()), vi), half = whole >> 1;
    return a * vpower2(half) * vpower2(whole - half);
}
INLINE vf vselect_less(vf a, vf b, vf yes, vf no) { return vpick(a < b, yes, no); }
INLINE vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE void vtranspose(vf *r)
{
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++) {
            float t = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = t;
        }
}
#endif

/* Sum and largest of the lanes, in a fixed order. */
INLINE float vsum(vf v)
{
    float t[VL];
    vstore(t, v);
    for (int width = VL / 2; width >= 1; width /= 2)
        for (int i = 0; i < width; i++)
            t[i] += t[i + width];
    return t[0];
}
INLINE float vlargest(vf v)
{
    float t[VL];
    vstore(t, v);
    for (int width = VL / 2; width >= 1; width /= 2)
        for (int i = 0; i < width; i++)
            t[i] = t[i] > t[i + width] ? t[i] : t[i + width];
    return t[0];
}

/* n <= VL values at index i of a row of float32 or bfloat16. */
INLINE vf vread(const void *p, int64_t i, int n, bool bf16)
{
    if (bf16)
        return n == VL ? vload_bf16((const uint16_t *)p + i) : vload_bf16_part((const uint16_t *)p + i, n);
    return n == VL ? vload((const float *)p + i) : vload_part((const float *)p + i, n);
}
INLINE void vwrite(void *p, int64_t i, int n, bool bf16, vf v)
{
    if (bf16) {
        if (n == VL)
            vstore_bf16((uint16_t *)p + i, v);
        else
            vstore_bf16_part((uint16_t *)p + i, v, n);
    } else if (n == VL)
        vstore((float *)p + i, v);
    else
        vstore_part((float *)p + i, v, n);
}
INLINE int vcount(int64_t left) { return left < VL ? (int)left : VL; }

/* e^x, about one unit in the last place: x = n ln 2 + r, Taylor to the 7th power of |r| <= 0.347 (next term 5e-9). */
INLINE vf vexp(vf x)
{
    x = vmin(vset(89.0f), vmax(vset(-104.5f), x));
    vf n = vround(x * vset(1.44269504088896341f));
    vf r = vnfma(n, vset(0.693145751953125f), x); /* ln 2 in two parts, the first exact in 13 bits */
    r = vnfma(n, vset(1.42860682030941723e-6f), r);
    vf p = vset(1.0f / 5040);
    p = vfma(p, r, vset(1.0f / 720));
    p = vfma(p, r, vset(1.0f / 120));
    p = vfma(p, r, vset(1.0f / 24));
    p = vfma(p, r, vset(1.0f / 6));
    p = vfma(p, r, vset(0.5f));
    p = vfma(p, r, vset(1.0f));
    p = vfma(p, r, vset(1.0f));
    return vscale2(p, n);
}

/* tanh x = 1 - 2 / (e^2x + 1); near 0, where that cancels, the series to x^11. */
INLINE vf vtanh(vf x)
{
    vf far = vset(1.0f) - vset(2.0f) / (vexp(x + x) + vset(1.0f));
    vf s = x * x, p = vset(-1382.0f / 155925);
    p = vfma(p, s, vset(62.0f / 2835));
    p = vfma(p, s, vset(-17.0f / 315));
    p = vfma(p, s, vset(2.0f / 15));
    p = vfma(p, s, vset(-1.0f / 3));
    vf near = vfma(p * s, x, x);
    return vselect_less(vabs(x), vset(0.3f), near, far);
}

#endif
