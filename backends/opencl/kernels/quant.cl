/* quant.cl - block types as they are in GGUF: element j of a row as float, by LOAD(q4_0, row, j) like any other storage type, and four
 * or sixteen elements at once: j is then a multiple of as many, and a row has whole blocks.
 *
 * A pointer to a block type is one to bytes, and the distance of rows is in bytes. core/tensor/quant.c states the layouts. */
typedef uchar q8_0;
typedef uchar q4_0;
typedef uchar q4_1;
typedef uchar q5_0;
typedef uchar q5_1;
typedef uchar q2_k;
typedef uchar q3_k;
typedef uchar q4_k;
typedef uchar q5_k;
typedef uchar q6_k;
typedef uchar iq4_nl;
typedef uchar iq4_xs;

/* every block has an even number of bytes */
static inline float half_at(const global uchar *p) { return vload_half(0, (const global half *)p); }

static inline float load_q8_0(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 32 * 34;
    return (float)(char)b[2 + j % 32] * half_at(b);
}

/* the 4-bit code of value k of a block of 32 */
static inline int nibble(const global uchar *codes, uint k) { return codes[k % 16] >> (k / 16 * 4) & 15; }

static inline int fifth(const global uchar *bits, uint k) { return (bits[k / 8] >> (k % 8) & 1) << 4; }

static inline float load_q4_0(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 32 * 18;
    return (float)(nibble(b + 2, j % 32) - 8) * half_at(b);
}

static inline float load_q4_1(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 32 * 20;
    return (float)nibble(b + 4, j % 32) * half_at(b) + half_at(b + 2);
}

static inline float load_q5_0(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 32 * 22;
    const uint k = j % 32;
    return (float)((nibble(b + 6, k) | fifth(b + 2, k)) - 16) * half_at(b);
}

static inline float load_q5_1(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 32 * 24;
    const uint k = j % 32;
    return (float)(nibble(b + 8, k) | fifth(b + 4, k)) * half_at(b) + half_at(b + 2);
}

/* the 2-bit code of value i of a block of 256 */
static inline int pair(const global uchar *codes, uint i) { return codes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

static inline float load_q2_k(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 256 * 84;
    const uint i = j % 256, s = b[i / 16];
    return half_at(b + 80) * (float)(s & 15) * (float)pair(b + 16, i) - half_at(b + 82) * (float)(s >> 4);
}

static inline float load_q3_k(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 256 * 110, *scales = b + 96;
    const uint i = j % 256, k = i / 16;
    const int low = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;
    const int scale = (low | (scales[8 + k % 4] >> (k / 4 * 2) & 3) << 4) - 32;
    const int code = pair(b + 32, i) - ((b[i % 32] >> (i / 32) & 1) ? 0 : 4);
    return half_at(b + 108) * (float)scale * (float)code;
}

/* d, least, scales[12]; k: sub-block of 32 */
static inline float k_value(const global uchar *b, uint k, int code)
{
    const global uchar *s = b + 4;
    const int scale = k < 4 ? s[k] & 63 : (s[k + 4] & 15) | s[k - 4] >> 6 << 4;
    const int least = k < 4 ? s[k + 4] & 63 : s[k + 4] >> 4 | s[k] >> 6 << 4;
    return half_at(b) * (float)scale * (float)code - half_at(b + 2) * (float)least;
}

static inline float load_q4_k(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 256 * 144;
    const uint i = j % 256, k = i / 32;
    return k_value(b, k, b[16 + k / 2 * 32 + i % 32] >> (k % 2 * 4) & 15);
}

static inline float load_q5_k(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 256 * 176;
    const uint i = j % 256, k = i / 32;
    return k_value(b, k, (b[48 + k / 2 * 32 + i % 32] >> (k % 2 * 4) & 15) | (b[16 + i % 32] >> k & 1) << 4);
}

static inline float load_q6_k(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 256 * 210;
    const uint i = j % 256, part = i / 128, r = i % 128;
    const int low = b[part * 64 + r % 64] >> (r / 64 * 4) & 15, high = b[128 + part * 32 + r % 32] >> (r / 32 * 2) & 3;
    return half_at(b + 208) * (float)(char)b[192 + i / 16] * (float)((low | high << 4) - 32);
}

constant char uneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static inline float load_iq4_nl(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 32 * 18;
    return half_at(b) * (float)uneven[nibble(b + 2, j % 32)];
}

/* scale of sub-block k of 32 */
static inline float scale_xs(const global uchar *b, uint k)
{
    const int low = b[4 + k / 2] >> (k % 2 * 4) & 15, high = b[2 + k / 4] >> (k % 4 * 2) & 3;
    return half_at(b) * (float)((low | high << 4) - 32);
}

static inline float load_iq4_xs(const global uchar *row, size_t j)
{
    const global uchar *b = row + j / 256 * 136;
    const uint i = j % 256, k = i / 32;
    return scale_xs(b, k) * (float)uneven[nibble(b + 8 + 16 * k, i % 32)];
}

/* ---- several at once: what they share is read once ---- */

static inline float scale_min_k(const global uchar *b, uint k, float *least)
{
    const global uchar *s = b + 4;
    const int scale = k < 4 ? s[k] & 63 : (s[k + 4] & 15) | s[k - 4] >> 6 << 4;
    *least = half_at(b + 2) * (float)(k < 4 ? s[k + 4] & 63 : s[k + 4] >> 4 | s[k] >> 6 << 4);
    return half_at(b) * (float)scale;
}

/* bit i of 16 bits from bits on, from bit k on, for each i < N: 0 or 16 */
#define FIFTHS(N, bits, k) fifths##N((uint)(bits)[(k) / 8] | ((k) % 32 < 24 ? (uint)(bits)[(k) / 8 + 1] << 8 : 0), (k) % 8)
static inline int4 fifths4(uint bits, uint k) { return convert_int4((uint4)(bits >> k) >> (uint4)(0, 1, 2, 3) & 1) << 4; }
static inline int16 fifths16(uint bits, uint k)
{
    return convert_int16((uint16)(bits >> k) >> (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) & 1) << 4;
}

/* n, a row's elements, is a multiple of the block */
#define SEVERAL(N)                                                                                                     \
    static inline int##N bytes##N(const global uchar *p) { return convert_int##N(vload##N(0, p)); }                    \
    static inline float##N take##N##_q8_0(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 32) * 34;                                                           \
        return convert_float##N(vload##N(0, (const global char *)b + 2 + j % 32)) * half_at(b);                        \
    }                                                                                                                  \
    static inline float##N take##N##_q4_0(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 32) * 18;                                                           \
        return convert_float##N((bytes##N(b + 2 + j % 16) >> (j % 32 / 16 * 4) & 15) - 8) * half_at(b);                \
    }                                                                                                                  \
    static inline float##N take##N##_q4_1(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 32) * 20;                                                           \
        return convert_float##N(bytes##N(b + 4 + j % 16) >> (j % 32 / 16 * 4) & 15) * half_at(b) + half_at(b + 2);     \
    }                                                                                                                  \
    static inline float##N take##N##_q5_0(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 32) * 22;                                                           \
        const int##N code = (bytes##N(b + 6 + j % 16) >> (j % 32 / 16 * 4) & 15) | FIFTHS(N, b + 2, (uint)j % 32);     \
        return convert_float##N(code - 16) * half_at(b);                                                               \
    }                                                                                                                  \
    static inline float##N take##N##_q5_1(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 32) * 24;                                                           \
        const int##N code = (bytes##N(b + 8 + j % 16) >> (j % 32 / 16 * 4) & 15) | FIFTHS(N, b + 4, (uint)j % 32);     \
        return convert_float##N(code) * half_at(b) + half_at(b + 2);                                                   \
    }                                                                                                                  \
    static inline int##N pair##N(const global uchar *codes, uint i)                                                    \
    {                                                                                                                  \
        return bytes##N(codes + i / 128 * 32 + i % 32) >> (int)(i % 128 / 32 * 2) & 3;                                 \
    }                                                                                                                  \
    static inline float##N take##N##_q2_k(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 256) * 84;                                                          \
        const uint i = (uint)j % 256, s = b[i / 16];                                                                   \
        return convert_float##N(pair##N(b + 16, i)) * (half_at(b + 80) * (float)(s & 15)) - half_at(b + 82) * (float)(s >> 4); \
    }                                                                                                                  \
    static inline float##N take##N##_q3_k(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 256) * 110, *scales = b + 96;                                       \
        const uint i = (uint)j % 256, k = i / 16;                                                                      \
        const int low = k < 8 ? scales[k] & 15 : scales[k - 8] >> 4;                                                   \
        const int scale = (low | (scales[8 + k % 4] >> (k / 4 * 2) & 3) << 4) - 32;                                    \
        const int##N code = pair##N(b + 32, i) - 4 + ((bytes##N(b + i % 32) >> (int)(i / 32) & 1) << 2);               \
        return convert_float##N(code) * (half_at(b + 108) * (float)scale);                                             \
    }                                                                                                                  \
    static inline float##N take##N##_q4_k(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 256) * 144;                                                         \
        const uint i = (uint)j % 256, k = i / 32;                                                                      \
        float least;                                                                                                   \
        const float scale = scale_min_k(b, k, &least);                                                                 \
        return convert_float##N(bytes##N(b + 16 + k / 2 * 32 + i % 32) >> (int)(k % 2 * 4) & 15) * scale - least;      \
    }                                                                                                                  \
    static inline float##N take##N##_q5_k(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 256) * 176;                                                         \
        const uint i = (uint)j % 256, k = i / 32;                                                                      \
        float least;                                                                                                   \
        const float scale = scale_min_k(b, k, &least);                                                                 \
        const int##N low = bytes##N(b + 48 + k / 2 * 32 + i % 32) >> (int)(k % 2 * 4) & 15;                            \
        return convert_float##N(low | (bytes##N(b + 16 + i % 32) >> (int)k & 1) << 4) * scale - least;                 \
    }                                                                                                                  \
    static inline float##N take##N##_q6_k(const global uchar *row, int j, int n)                                       \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 256) * 210;                                                         \
        const uint i = (uint)j % 256, part = i / 128, r = i % 128;                                                     \
        const int##N low = bytes##N(b + part * 64 + r % 64) >> (int)(r / 64 * 4) & 15;                                 \
        const int##N high = bytes##N(b + 128 + part * 32 + r % 32) >> (int)(r / 32 * 2) & 3;                           \
        return convert_float##N((low | high << 4) - 32) * (half_at(b + 208) * (float)(char)b[192 + i / 16]);           \
    }                                                                                                                  \
    static inline float##N uneven##N(const global uchar *codes, uint i, float scale)                                   \
    {                                                                                                                  \
        float y[N];                                                                                                    \
        for (int e = 0; e < N; e++)                                                                                    \
            y[e] = scale * (float)uneven[codes[i % 16 + e] >> (i % 32 / 16 * 4) & 15];                                 \
        return vload##N(0, y);                                                                                         \
    }                                                                                                                  \
    static inline float##N take##N##_iq4_nl(const global uchar *row, int j, int n)                                     \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 32) * 18;                                                           \
        return uneven##N(b + 2, (uint)j % 32, half_at(b));                                                             \
    }                                                                                                                  \
    static inline float##N take##N##_iq4_xs(const global uchar *row, int j, int n)                                     \
    {                                                                                                                  \
        const global uchar *b = row + (size_t)(j / 256) * 136;                                                         \
        const uint i = (uint)j % 256, k = i / 32;                                                                      \
        return uneven##N(b + 8 + 16 * k, i % 32, scale_xs(b, k));                                                      \
    }
SEVERAL(4)
SEVERAL(16)
