/* elementwise.cl - kernels that treat each element by itself: items walk over columns (dimension 0) and rows (1). An output may be
 * an operand's own memory: everything that an element needs is read before it is written. */
#define EACH_ROW(i, rows) for (long i = get_global_id(1); i < rows; i += get_global_size(1))
#define EACH_COL(j, cols) for (long j = get_global_id(0); j < cols; j += get_global_size(0))

#ifdef FILL
kernel void fill(OUT(TY, y), const long rows, const long cols, const float value)
{
    EACH_ROW(i, rows) {
        global TY *to = ROW(y, i);
        EACH_COL(j, cols) STORE(TY, to, j, value);
    }
}
#endif

#ifdef TIMES
kernel void times(IN(TX, x), OUT(TY, y), const long rows, const long cols, const float factor)
{
    EACH_ROW(i, rows) {
        const global TX *from = ROW(x, i);
        global TY *to = ROW(y, i);
        EACH_COL(j, cols) STORE(TY, to, j, factor * LOAD(TX, from, j));
    }
}
#endif

#ifdef ADD
kernel void add(IN(TA, a), IN(TB, b), OUT(TY, y), const long rows, const long cols)
{
    EACH_ROW(i, rows) {
        const global TA *p = ROW(a, i);
        const global TB *q = ROW(b, i);
        global TY *to = ROW(y, i);
        EACH_COL(j, cols) STORE(TY, to, j, LOAD(TA, p, j) + LOAD(TB, q, j));
    }
}
#endif

#if defined(GLU) || defined(ACTIVATE)
/* act(x) and its derivative; ACT as sail_activation counts: silu, gelu, gelu_tanh, relu */
static inline float activate(float x, float *slope)
{
#if ACT == 0
    const float s = 1.0f / (1.0f + exp(-x));
    *slope = s * (1.0f + x * (1.0f - s));
    return x * s;
#elif ACT == 1
    const float cdf = 0.5f * erfc(-x * 0.70710678118654752f);
    *slope = cdf + x * 0.39894228040143268f * exp(-0.5f * x * x);
    return x * cdf;
#elif ACT == 2
    const float t = tanh(0.79788456080286536f * (x + 0.044715f * x * x * x));
    *slope = 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * 0.79788456080286536f * (1.0f + 0.134145f * x * x);
    return 0.5f * x * (1.0f + t);
#else
    *slope = x > 0.0f ? 1.0f : 0.0f;
    return x > 0.0f ? x : x < 0.0f ? 0.0f : x; /* NaN stays */
#endif
}

#endif

#ifdef ACTIVATE
kernel void act(IN(TX, x), OUT(TX, y), const long rows, const long cols)
{
    EACH_ROW(i, rows) {
        const global TX *from = ROW(x, i);
        global TX *to = ROW(y, i);
        EACH_COL(j, cols) {
            float slope;
            STORE(TX, to, j, activate(LOAD(TX, from, j), &slope));
        }
    }
}

kernel void act_back(IN(TX, dy), IN(TX, x), OUT(TX, dx), const long rows, const long cols)
{
    EACH_ROW(i, rows) {
        const global TX *d = ROW(dy, i);
        const global TX *from = ROW(x, i);
        global TX *to = ROW(dx, i);
        EACH_COL(j, cols) {
            float slope;
            activate(LOAD(TX, from, j), &slope);
            STORE(TX, to, j, LOAD(TX, d, j) * slope);
        }
    }
}
#endif

#ifdef GLU
kernel void glu(IN(TX, gate), IN(TU, up), OUT(TY, y), const long rows, const long cols)
{
    EACH_ROW(i, rows) {
        const global TX *g = ROW(gate, i);
        const global TU *u = ROW(up, i);
        global TY *to = ROW(y, i);
        EACH_COL(j, cols) {
            float slope;
            STORE(TY, to, j, activate(LOAD(TX, g, j), &slope) * LOAD(TU, u, j));
        }
    }
}
#endif

#ifdef GLU_BACK
kernel void glu_back(IN(TD, dy), IN(TX, gate), IN(TU, up), OUT(TG, dgate), OUT(TY, dup), const long rows, const long cols)
{
    EACH_ROW(i, rows) {
        const global TD *d = ROW(dy, i);
        const global TX *g = ROW(gate, i);
        const global TU *u = ROW(up, i);
        global TG *dg = ROW(dgate, i);
        global TY *du = ROW(dup, i);
        EACH_COL(j, cols) {
            float slope;
            const float by = LOAD(TD, d, j), other = LOAD(TU, u, j), a = activate(LOAD(TX, g, j), &slope);
            STORE(TG, dg, j, by * other * slope);
            STORE(TY, du, j, by * a);
        }
    }
}
#endif

#ifdef ROPE
/* cols counts what an item does: of each head first `turning / 2` pairs, then the entries that are copied. */
kernel void rope(IN(TX, x), IN(i32, position), IN(f32, table), OUT(TX, y), const long rows, const long cols, const int head,
                 const int turning, const int table_rows, const float sign, FAULTS)
{
    const int pairs = turning / 2, items = head - pairs;
    EACH_ROW(i, rows) {
        const global TX *from = ROW(x, i);
        global TX *to = ROW(y, i);
        const int p = *ROW(position, i);
        if (ID_GOOD(1, i, p, 0, table_rows)) {
            const global float *row = ROW(table, p);
            EACH_COL(j, cols) {
                const long at = j / items * head;
                const int k = (int)(j % items);
                if (k < pairs) {
                    const float c = row[k], s = sign * row[pairs + k], a = LOAD(TX, from, at + k), b = LOAD(TX, from, at + pairs + k);
                    STORE(TX, to, at + k, a * c - b * s);
                    STORE(TX, to, at + pairs + k, b * c + a * s);
                } else {
                    STORE(TX, to, at + pairs + k, LOAD(TX, from, at + pairs + k));
                }
            }
        }
    }
}
#endif

#ifdef DROPOUT
/* cols counts runs of four columns, which share one draw. */
kernel void dropout(IN(TX, x), IN(i32, keys), OUT(TX, y), const long rows, const long cols, const long width, const ulong seed,
                    const ulong layer, const ulong least, const float factor)
{
    EACH_ROW(i, rows) {
        const global TX *from = ROW(x, i);
        global TX *to = ROW(y, i);
        const global int *k = ROW(keys, i);
        const ulong key = (ulong)(uint)k[0] | (ulong)(uint)k[1] << 32;
        EACH_COL(j, cols) {
            const uint4 w = random_words(seed, PURPOSE, key, layer, (ulong)j);
            const uint word[4] = {w.x, w.y, w.z, w.w};
            for (int n = 0; n < 4 && 4 * j + n < width; n++)
                STORE(TX, to, 4 * j + n, word[n] >= least ? LOAD(TX, from, 4 * j + n) * factor : 0.0f);
        }
    }
}
#endif
