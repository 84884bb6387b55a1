/* attention_forest.cl - what the kernels of attention share: the forest's tables (sail/graph.h), and blocks of rows in local memory.
 *
 * T: storage type; HD: head size; SHARE: query heads of a key head. A tile's rows times SHARE are its lines: line l is row l / SHARE
 * in head l % SHARE. A group is TX x TY items. CAP: scores are soft-capped.
 *
 * Scores are kept in units of log 2. What a query does not see is HIDDEN, and neither its key nor its value is multiplied with
 * anything: they may hold NaN. Everything that decides about a barrier is the same for all items of a group. */
#define HIDDEN (-3.402823466e38f)
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f

#define ITEMS (TX * TY)
#define QUADS ((HD + 3) / 4)
#define RD ((HD + TX - 1) / TX) /* columns of an item: its own, then every TX-th */
#define QUADS_IN (4 * QUADS > RD * TX ? QUADS : (RD * TX + 3) / 4) /* a row in local memory, zero-filled */
#define LD (4 * QUADS_IN + 4) /* between rows: no two of a wave's rows in one bank */

static inline float4 four_f32(const global float *p) { return vload4(0, p); }
static inline float4 four_bf16(const global ushort *p) { return as_float4(convert_uint4(vload4(0, p)) << 16); }
static inline float4 four_f16(const global ushort *p) { return vload_half4(0, (const global half *)p); }
#define FOUR(T, p) CAT(four_, T)(p)

/* Elements [c, c + 4) of a head; zero beyond its end. */
static inline float4 quad(const global T *p, int c)
{
#if HD % 4 == 0
    return c < HD ? FOUR(T, p + c) : (float4)(0.0f);
#else
    float4 v = (float4)(0.0f);
    if (c < HD)
        v.x = LOAD(T, p, c);
    if (c + 1 < HD)
        v.y = LOAD(T, p, c + 1);
    if (c + 2 < HD)
        v.z = LOAD(T, p, c + 2);
    if (c + 3 < HD)
        v.w = LOAD(T, p, c + 3);
    return v;
#endif
}

/* Rows [0, n) at from, ld apart, to `room` rows of local memory; the others become zero. */
static inline void fetch_rows(local float *to, int room, const global T *from, long ld, int n, int item)
{
    for (int i = item; i < room * QUADS_IN; i += ITEMS) {
        const int r = i / QUADS_IN, c = i % QUADS_IN * 4;
        vstore4(r < n ? quad(from + (size_t)r * (size_t)ld, c) : (float4)(0.0f), 0, to + r * LD + c);
    }
}

/* Lines [first, end) of a tile whose first row is at from (in the group's first query head). */
static inline void fetch_lines(local float *to, int room, const global T *from, long ld, int first, int end, int item)
{
    for (int i = item; i < room * QUADS_IN; i += ITEMS) {
        const int r = i / QUADS_IN, l = first + r, c = i % QUADS_IN * 4;
        vstore4(l < end ? quad(from + (size_t)(l / SHARE) * (size_t)ld + l % SHARE * HD, c) : (float4)(0.0f), 0, to + r * LD + c);
    }
}

/* The score of a product; slope: its derivative by scale * product. */
static inline float score_of(float product, float scale, float cap)
{
#ifdef CAP
    return cap * tanh(product * scale / cap) * LOG2E;
#else
    return product * scale * LOG2E;
#endif
}

#ifdef CAP
#define SLOPE(score, cap) (1.0f - (score) * (1.0f / LOG2E) / (cap) * ((score) * (1.0f / LOG2E) / (cap)))
#else
#define SLOPE(score, cap) 1.0f
#endif

static inline bool sees(int query, int key, int window) { return key <= query && (window == 0 || key > query - window); }

typedef struct {
    int segment, first, rows, position; /* first row and its position */
} Tile;

static inline Tile tile_at(const global int *tiles, ulong at, long ld, int i, int n_segments, int queries, int operand,
                           global int *fault, int fault_op)
{
    const global int *p = tiles + at + (size_t)i * (size_t)ld;
    Tile t = {p[0], p[1], p[2], p[3]};
    if (!(t.segment >= 0 && t.segment < n_segments))
        report(fault, fault_op, operand, i, t.segment, 0, n_segments);
    else if (!(t.first >= 0 && t.first < queries))
        report(fault, fault_op, operand, i, t.first, 0, queries);
    else if (!(t.rows >= 1 && t.rows <= 64 && t.rows <= queries - t.first))
        report(fault, fault_op, operand, i, t.rows, 1, min(64, queries - t.first) + 1);
    else
        return t;
    t.rows = t.segment = t.first = 0;
    return t;
}

/* The ranges [x, y) of segment i. */
static inline int2 ranges_of(const global int *segments, ulong at, long ld, int i, int n_ranges, int operand, global int *fault,
                             int fault_op)
{
    const global int *p = segments + at + (size_t)i * (size_t)ld;
    const int first = p[5], n = p[6];
    if (first >= 0 && n >= 0 && first <= n_ranges && n <= n_ranges - first)
        return (int2)(first, first + n);
    report(fault, fault_op, operand, i, first < 0 || first > n_ranges ? first : n, 0, n_ranges + 1);
    return (int2)(0, 0);
}

/* A piece of a range: keys, and the position of the first. */
typedef struct {
    int row, n, position;
} Span;

/* What queries at positions [from, to] can see of range i. */
static inline Span span_at(const global int *ranges, ulong at, long ld, int i, int keys, int from, int to, int window, int operand,
                           global int *fault, int fault_op)
{
    Span s = {0, 0, 0};
    const global int *p = ranges + at + (size_t)i * (size_t)ld;
    const int row = p[0], n = p[1], position = p[2];
    if (row < 0 || n < 0 || row > keys || n > keys - row) {
        report(fault, fault_op, operand, i, row < 0 || row > keys ? row : n, 0, keys + 1);
        return s;
    }
    const int begin = window ? max(0, from - window + 1 - position) : 0, end = min(n, to + 1 - position);
    if (begin < end) {
        s.row = row + begin;
        s.n = end - begin;
        s.position = position + begin;
    }
    return s;
}
