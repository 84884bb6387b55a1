/* dot2.cl - c + a0 * b0 + a1 * b1 for pairs of 16-bit numbers in words, the first in the low half: the products are exact, the sums
 * float32, as if the numbers had been made float32 first. DOT2: how.
 *
 *   1  conversions of half, as many devices do them within a multiply-add        cl_khr_fp16
 *   2  AMD's instruction for two products of half
 *   3  bfloat16, made float32 by a shift: every device
 *   4  AMD's instruction for two products of bfloat16
 *   5  Intel's conversions of bfloat16                                           cl_intel_bfloat16_conversions */
#if DOT2 <= 2
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#endif
static inline float dot2(uint a, uint b, float c)
{
#if DOT2 == 1
    const float2 x = convert_float2(as_half2(a)), z = convert_float2(as_half2(b));
    return fma(x.y, z.y, fma(x.x, z.x, c));
#elif DOT2 == 2
    return __builtin_amdgcn_fdot2(as_half2(a), as_half2(b), c, false);
#elif DOT2 == 3
    return fma(as_float(a & 0xffff0000u), as_float(b & 0xffff0000u), fma(as_float(a << 16), as_float(b << 16), c));
#elif DOT2 == 4
    return __builtin_amdgcn_fdot2_f32_bf16(as_short2(a), as_short2(b), c, false);
#else
    const float2 x = intel_convert_as_bfloat162_float2(as_ushort2(a)), z = intel_convert_as_bfloat162_float2(as_ushort2(b));
    return fma(x.y, z.y, fma(x.x, z.x, c));
#endif
}
