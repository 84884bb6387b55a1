/* attention_blocks.cl - attention and its derivative for processors: an item has a block of lines, or of keys, to itself and works by
 * vectors on copies in memory of its own, without local memory or barriers. What is computed is what attention*.cl say.
 *
 * HD: a multiple of 64 that heads fit in; T: storage type; LENGTH: a vector's floats, 4, 8 or 16. A head's size and the heads of a key
 * head are arguments, so that few programs are needed. attention_forest.cl comes before. */
#define VEC CAT(float, LENGTH)
#define IVEC CAT(int, LENGTH)
#define VLOAD CAT(vload, LENGTH)
#define VSTORE CAT(vstore, LENGTH)
#define R 6                          /* lines whose products are in registers at a time, */
#define NK 2                         /* with so many vectors of keys, */
#define NC (LENGTH == 16 ? 4 : 2)    /* or of columns */
#define BK (NK * LENGTH)
#define WIDE (NC * LENGTH)
#define LINES (HD <= 128 ? 48 : 24)  /* a multiple of R */
#define ALONE __attribute__((reqd_work_group_size(1, 1, 1))) __attribute__((vec_type_hint(VEC)))

#if LENGTH == 16
#define LANES (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
static inline float across_max(float16 v) { const float8 a = fmax(v.lo, v.hi); const float4 b = fmax(a.lo, a.hi); const float2 c = fmax(b.lo, b.hi); return fmax(c.x, c.y); }
static inline float across_sum(float16 v) { const float8 a = v.lo + v.hi; const float4 b = a.lo + a.hi; const float2 c = b.lo + b.hi; return c.x + c.y; }
#elif LENGTH == 8
#define LANES (int8)(0, 1, 2, 3, 4, 5, 6, 7)
static inline float across_max(float8 v) { const float4 b = fmax(v.lo, v.hi); const float2 c = fmax(b.lo, b.hi); return fmax(c.x, c.y); }
static inline float across_sum(float8 v) { const float4 b = v.lo + v.hi; const float2 c = b.lo + b.hi; return c.x + c.y; }
#else
#define LANES (int4)(0, 1, 2, 3)
static inline float across_max(float4 v) { const float2 c = fmax(v.lo, v.hi); return fmax(c.x, c.y); }
static inline float across_sum(float4 v) { const float2 c = v.lo + v.hi; return c.x + c.y; }
#endif

/* Four elements from c on of a head of `hd`, zero beyond its end. */
static inline float4 four_of(const global T *p, int c, int hd)
{
    if (c + 4 <= hd)
        return FOUR(T, p + c);
    return (float4)(c < hd ? LOAD(T, p, c) : 0.0f, c + 1 < hd ? LOAD(T, p, c + 1) : 0.0f, c + 2 < hd ? LOAD(T, p, c + 2) : 0.0f, 0.0f);
}

/* A row of `width` columns, zero from hd on. */
static inline void copy_row(float *to, const global T *from, int hd, int width)
{
    for (int c = 0; c < width; c += 4)
        vstore4(four_of(from, c, hd), 0, to + c);
}

static inline void clear(float *to, int n)
{
    for (int i = 0; i < n; i += 4)
        vstore4((float4)(0.0f), 0, to + i);
}

/* Rows [0, n) at from as rows of `width` columns, HD apart. */
static inline void copy_rows(float *to, const global T *from, long ld, int n, int hd, int width)
{
    for (int r = 0; r < n; r++)
        copy_row(to + r * HD, from + (size_t)r * (size_t)ld, hd, width);
}

/* Lines [first, first + n) of a tile whose first row is at from, and zeros to the next multiple of R. */
static inline void copy_lines(float *to, const global T *from, long ld, int first, int n, int share, int hd, int width)
{
    for (int i = 0; i < n; i++) {
        const int l = first + i;
        copy_row(to + i * HD, from + (size_t)(l / share) * (size_t)ld + l % share * hd, hd, width);
    }
    for (int i = n; i % R != 0; i++)
        clear(to + i * HD, width);
}

/* Rows [0, n) at from as columns: element d of row j goes to to[d * BK + j]; zeros beyond n. */
static inline void copy_across(float *to, const global T *from, long ld, int n, int hd)
{
    for (int j = 0; j < BK; j += 4) {
        const global T *const r0 = from + (size_t)min(j, n - 1) * (size_t)ld, *const r1 = from + (size_t)min(j + 1, n - 1) * (size_t)ld,
                       *const r2 = from + (size_t)min(j + 2, n - 1) * (size_t)ld, *const r3 = from + (size_t)min(j + 3, n - 1) * (size_t)ld;
        for (int d = 0; d < hd; d += 4) {
            const float4 none = 0.0f, a = j < n ? four_of(r0, d, hd) : none, b = j + 1 < n ? four_of(r1, d, hd) : none,
                         c = j + 2 < n ? four_of(r2, d, hd) : none, e = j + 3 < n ? four_of(r3, d, hd) : none;
            float *const p = to + d * BK + j;
            vstore4((float4)(a.x, b.x, c.x, e.x), 0, p);
            if (d + 1 < hd)
                vstore4((float4)(a.y, b.y, c.y, e.y), 0, p + BK);
            if (d + 2 < hd)
                vstore4((float4)(a.z, b.z, c.z, e.z), 0, p + 2 * BK);
            if (d + 3 < hd)
                vstore4((float4)(a.w, b.w, c.w, e.w), 0, p + 3 * BK);
        }
    }
}

/* z[r][v]: R lines at a times BK keys, which stand in columns at b. */
#define PRODUCTS(z, a, b)                                                                                              \
    _Pragma("unroll")                                                                                                  \
    for (int r = 0; r < R; r++)                                                                                        \
        _Pragma("unroll")                                                                                              \
        for (int v = 0; v < NK; v++)                                                                                   \
            z[r][v] = 0.0f;                                                                                            \
    _Pragma("unroll 1")                                                                                                \
    for (int d = 0; d < hd; d++) {                                                                                     \
        VEC key_[NK];                                                                                                  \
        _Pragma("unroll")                                                                                              \
        for (int v = 0; v < NK; v++)                                                                                   \
            key_[v] = VLOAD(v, (b) + d * BK);                                                                          \
        _Pragma("unroll")                                                                                              \
        for (int r = 0; r < R; r++)                                                                                    \
            _Pragma("unroll")                                                                                          \
            for (int v = 0; v < NK; v++)                                                                               \
                z[r][v] += (a)[r * HD + d] * key_[v];                                                                  \
    }

static inline VEC scores_of(VEC product, float scale, float cap)
{
    return cap > 0.0f ? cap * tanh(product * scale / cap) * LOG2E : product * scale * LOG2E;
}

/* The derivative of a score by scale * product. */
static inline VEC slopes_of(VEC score, float cap)
{
    const VEC x = score * (1.0f / LOG2E) / cap;
    return cap > 0.0f ? 1.0f - x * x : (VEC)(1.0f);
}

/* Keys [x, y) of n, of which the first stands at `here`, that a query at this position sees. */
static inline int2 seen_by(int position, int here, int n, int window)
{
    return (int2)(window ? max(0, position - window + 1 - here) : 0, min(n, position - here + 1));
}

/* Zero outside of [x, y): lanes of vector v. */
static inline VEC only(VEC p, int2 seen, int v)
{
    const IVEC lane = LANES + v * LENGTH;
    return select((VEC)(0.0f), p, lane >= seen.x && lane < seen.y);
}

/* to[r] += p[r][j] * rows[j] for R rows of `width` columns and each row's own [seen.x, seen.y): together where all of them have j. */
static inline void add_rows(float *to, const float *p, const float *rows, const int2 *seen, int width)
{
    int first = 0, last = BK;
    for (int r = 0; r < R; r++) {
        first = max(first, seen[r].x);
        last = min(last, seen[r].y);
    }
    if (first >= last)
        first = last = 0;
    for (int c = 0; c < width; c += WIDE) {
        VEC sum[R][NC];
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int v = 0; v < NC; v++)
                sum[r][v] = VLOAD(v, to + r * HD + c);
#pragma unroll 1
        for (int j = first; j < last; j++) {
            VEC w[NC];
#pragma unroll
            for (int v = 0; v < NC; v++)
                w[v] = VLOAD(v, rows + j * HD + c);
#pragma unroll
            for (int r = 0; r < R; r++)
#pragma unroll
                for (int v = 0; v < NC; v++)
                    sum[r][v] += p[r * BK + j] * w[v];
        }
#pragma unroll
        for (int r = 0; r < R; r++)
#pragma unroll
            for (int v = 0; v < NC; v++)
                VSTORE(sum[r][v], v, to + r * HD + c);
    }
    for (int r = 0; r < R; r++)
        for (int j = seen[r].x; j < seen[r].y; j++) {
            if (j == first && first < last)
                j = last;
            if (j < seen[r].y)
                for (int c = 0; c < width; c += LENGTH)
                    VSTORE(VLOAD(0, to + r * HD + c) + p[r * BK + j] * VLOAD(0, rows + j * HD + c), 0, to + r * HD + c);
        }
}

#ifdef FORWARD
kernel ALONE void attention_blocks(IN(T, q), IN(T, k), IN(T, v), IN(i32, segments), IN(i32, ranges), IN(i32, tiles), OUT(T, o),
                                   OUT(f32, lse), const int queries, const int keys, const int n_segments, const int n_ranges,
                                   const int hd, const int share, const int window, const float scale, const float cap, FAULTS)
{
    float lq[LINES * HD], lo[LINES * HD], lk[HD * BK], lv[BK * HD], lp[R * BK], most[LINES];
    VEC sums[LINES];
    const int group = get_global_id(2), from = get_global_id(0) * LINES, width = (hd + WIDE - 1) / WIDE * WIDE;
    const Tile t = tile_at(tiles, tiles_at, tiles_ld, get_global_id(1), n_segments, queries, 5, fault, fault_op);
    const int n_lines = min(t.rows * share - from, (int)LINES);
    if (n_lines <= 0)
        return;
    const int first_position = t.position + from / share, last_position = t.position + (from + n_lines - 1) / share;
    const int2 has = ranges_of(segments, segments_at, segments_ld, t.segment, n_ranges, 3, fault, fault_op);
    copy_lines(lq, ROW(q, t.first) + (size_t)group * share * hd, q_ld, from, n_lines, share, hd, width);
    for (int i = 0; i < (n_lines + R - 1) / R * R; i++) {
        clear(lo + i * HD, width);
        most[i] = HIDDEN;
        sums[i] = 0.0f;
    }
    for (int a = has.x; a < has.y; a++) {
        const Span s = span_at(ranges, ranges_at, ranges_ld, a, keys, first_position, last_position, window, 4, fault, fault_op);
        for (int at = 0; at < s.n; at += BK) {
            const int n = min((int)BK, s.n - at), here = s.position + at;
            copy_across(lk, ROW(k, s.row + at) + (size_t)group * hd, k_ld, n, hd);
            copy_rows(lv, ROW(v, s.row + at) + (size_t)group * hd, v_ld, n, hd, width);
            for (int g = 0; g < n_lines; g += R) {
                VEC z[R][NK];
                int2 seen[R];
                PRODUCTS(z, lq + g * HD, lk)
#pragma unroll
                for (int r = 0; r < R; r++) {
                    const int line = g + r;
                    seen[r] = seen_by(t.position + (from + min(line, n_lines - 1)) / share, here, n, window);
                    float top = HIDDEN;
#pragma unroll
                    for (int v_ = 0; v_ < NK; v_++) {
                        const IVEC lane = LANES + v_ * LENGTH;
                        z[r][v_] = select((VEC)(HIDDEN), scores_of(z[r][v_], scale, cap), lane >= seen[r].x && lane < seen[r].y);
                        top = fmax(top, across_max(z[r][v_]));
                    }
                    if (top > most[line]) {
                        const float shrink = exp2(most[line] - top);
                        most[line] = top;
                        sums[line] *= shrink;
                        for (int c = 0; c < width; c += LENGTH)
                            VSTORE(VLOAD(0, lo + line * HD + c) * shrink, 0, lo + line * HD + c);
                    }
#pragma unroll
                    for (int v_ = 0; v_ < NK; v_++) {
                        const VEC p = only(exp2(z[r][v_] - most[line]), seen[r], v_);
                        sums[line] += p;
                        VSTORE(p, v_, lp + r * BK);
                    }
                }
                add_rows(lo + g * HD, lp, lv, seen, width);
            }
        }
    }
    for (int i = 0; i < n_lines; i++) {
        const int l = from + i, row = t.first + l / share, head = group * share + l % share;
        const float total = across_sum(sums[i]);
        const bool any = most[i] != HIDDEN || total != 0.0f; /* else it sees nothing (total is NaN if a score is) */
        global T *const to = ROW(o, row) + (size_t)head * hd;
        for (int c = 0; c < hd; c++)
            STORE(T, to, c, any ? lo[i * HD + c] / total : 0.0f);
        ROW(lse, row)[head] = any ? (most[i] + log2(total)) * LN2 : -INFINITY;
    }
}
#endif

#ifdef BACK
/* D of every row and head. */
kernel ALONE void attention_dots_blocks(IN(T, dout), IN(T, o), const int queries, const int heads, const int hd, global float *dots)
{
    for (int i = get_global_id(0); i < queries; i += get_global_size(0))
        for (int h = 0; h < heads; h++) {
            const global T *const a = ROW(dout, i) + h * hd, *const b = ROW(o, i) + h * hd;
            float4 sum = 0.0f;
            for (int c = 0; c < hd; c += 4)
                sum += four_of(a, c, hd) * four_of(b, c, hd);
            dots[(size_t)i * heads + h] = sum.x + sum.y + sum.z + sum.w;
        }
}

#define BACK_PARAMETERS                                                                                                \
    const int queries, const int n_segments, const int n_ranges, const int n_tiles, const int heads, const int hd, const int share, \
        const int window, const float scale, const float cap, const global float *dots, FAULTS

kernel ALONE void attention_back_query_blocks(IN(T, dout), IN(T, q), IN(T, k), IN(T, v), IN(f32, lse), IN(i32, segments),
                                              IN(i32, ranges), IN(i32, tiles), OUT(T, dq), BACK_PARAMETERS)
{
    float lq[LINES * HD], ldo[LINES * HD], sum[LINES * HD], lk[HD * BK], lv[HD * BK], rows[BK * HD], lp[R * BK], base[LINES], dot_[LINES];
    const int group = get_global_id(2), from = get_global_id(0) * LINES, width = (hd + WIDE - 1) / WIDE * WIDE;
    const Tile t = tile_at(tiles, tiles_at, tiles_ld, get_global_id(1), n_segments, queries, 8, fault, fault_op);
    const int n_lines = min(t.rows * share - from, (int)LINES);
    if (n_lines <= 0)
        return;
    const int first_position = t.position + from / share, last_position = t.position + (from + n_lines - 1) / share;
    const int2 has = ranges_of(segments, segments_at, segments_ld, t.segment, n_ranges, 6, fault, fault_op);
    copy_lines(lq, ROW(q, t.first) + (size_t)group * share * hd, q_ld, from, n_lines, share, hd, width);
    copy_lines(ldo, ROW(dout, t.first) + (size_t)group * share * hd, dout_ld, from, n_lines, share, hd, width);
    for (int i = 0; i < (n_lines + R - 1) / R * R; i++) {
        const int l = from + min(i, n_lines - 1), row = t.first + l / share, head = group * share + l % share;
        base[i] = ROW(lse, row)[head] * LOG2E;
        dot_[i] = dots[(size_t)row * heads + head];
        clear(sum + i * HD, width);
    }
    for (int a = has.x; a < has.y; a++) {
        const Span s = span_at(ranges, ranges_at, ranges_ld, a, queries, first_position, last_position, window, 7, fault, fault_op);
        for (int at = 0; at < s.n; at += BK) {
            const int n = min((int)BK, s.n - at), here = s.position + at;
            copy_across(lk, ROW(k, s.row + at) + (size_t)group * hd, k_ld, n, hd);
            copy_across(lv, ROW(v, s.row + at) + (size_t)group * hd, v_ld, n, hd);
            copy_rows(rows, ROW(k, s.row + at) + (size_t)group * hd, k_ld, n, hd, width);
            for (int g = 0; g < n_lines; g += R) {
                VEC z[R][NK], dp[R][NK];
                int2 seen[R];
                PRODUCTS(z, lq + g * HD, lk)
                PRODUCTS(dp, ldo + g * HD, lv)
#pragma unroll
                for (int r = 0; r < R; r++) {
                    const int line = g + r;
                    seen[r] = seen_by(t.position + (from + min(line, n_lines - 1)) / share, here, n, window);
#pragma unroll
                    for (int v_ = 0; v_ < NK; v_++) {
                        const VEC score = scores_of(z[r][v_], scale, cap);
                        const VEC ds = exp2(score - base[line]) * (dp[r][v_] - dot_[line]) * slopes_of(score, cap) * scale;
                        VSTORE(ds, v_, lp + r * BK);
                    }
                }
                add_rows(sum + g * HD, lp, rows, seen, width);
            }
        }
    }
    for (int i = 0; i < n_lines; i++) {
        const int l = from + i;
        global T *const to = ROW(dq, t.first + l / share) + (size_t)(group * share + l % share) * hd;
        for (int c = 0; c < hd; c++)
            STORE(T, to, c, sum[i * HD + c]);
    }
}

#define RK 8  /* keys whose sums are in registers at a time, */
#define NCK 2 /* with so many vectors of columns */
#define MANY (4 * R) /* lines at a time */

/* to[j] += p[i][j] * rows[i] for the keys of a block and n lines, of which line i has keys [seen[i].x, seen[i].y). */
static inline void add_lines(float *to, const float *p, const float *rows, const int2 *seen, int n, int keys, int width)
{
    for (int g = 0; g < keys; g += RK) {
        const int end = min(g + RK, keys);
        int first = 0, last = n; /* lines that have all of these keys: what a line has moves on from line to line */
        while (first < n && seen[first].y < end)
            first++;
        while (last > first && seen[last - 1].x > g)
            last--;
        for (int c = 0; c < width; c += NCK * LENGTH) {
            VEC sum[RK][NCK];
#pragma unroll
            for (int r = 0; r < RK; r++)
#pragma unroll
                for (int v = 0; v < NCK; v++)
                    sum[r][v] = VLOAD(v, to + (g + r) * HD + c);
#pragma unroll 1
            for (int i = first; i < last; i++) {
                VEC w[NCK];
#pragma unroll
                for (int v = 0; v < NCK; v++)
                    w[v] = VLOAD(v, rows + i * HD + c);
#pragma unroll
                for (int r = 0; r < RK; r++)
#pragma unroll
                    for (int v = 0; v < NCK; v++)
                        sum[r][v] += p[i * BK + g + r] * w[v];
            }
#pragma unroll
            for (int r = 0; r < RK; r++)
#pragma unroll
                for (int v = 0; v < NCK; v++)
                    VSTORE(sum[r][v], v, to + (g + r) * HD + c);
        }
        for (int i = 0; i < n; i++) {
            if (i == first)
                i = last;
            for (int j = i < n ? max(g, seen[i].x) : end; j < (i < n ? min(end, seen[i].y) : end); j++)
                for (int c = 0; c < width; c += LENGTH)
                    VSTORE(VLOAD(0, to + j * HD + c) + p[i * BK + j] * VLOAD(0, rows + i * HD + c), 0, to + j * HD + c);
        }
    }
}

kernel ALONE void attention_back_key_blocks(IN(T, dout), IN(T, q), IN(T, k), IN(T, v), IN(f32, lse), IN(i32, segments), IN(i32, ranges),
                                            IN(i32, tiles), OUT(T, dk), OUT(T, dv), BACK_PARAMETERS)
{
    float lk[HD * BK], lv[HD * BK], sum_k[BK * HD], sum_v[BK * HD], lq[MANY * HD], ldo[MANY * HD], lp[MANY * BK], lds[MANY * BK];
    int2 seen[MANY];
    const int group = get_global_id(2), from = get_global_id(0) * BK, width = (hd + WIDE - 1) / WIDE * WIDE;
    const Tile t = tile_at(tiles, tiles_at, tiles_ld, get_global_id(1), n_segments, queries, 8, fault, fault_op);
    const int count = min(t.rows - from, (int)BK), first = t.first + from; /* keys */
    if (count <= 0)
        return;
    const int subtree = segments[segments_at + (size_t)t.segment * (size_t)segments_ld + 4];
    copy_across(lk, ROW(k, first) + (size_t)group * hd, k_ld, count, hd);
    copy_across(lv, ROW(v, first) + (size_t)group * hd, v_ld, count, hd);
    clear(sum_k, BK * HD);
    clear(sum_v, BK * HD);
    for (int b = 0; b < n_tiles; b++) {
        const Tile s = tile_at(tiles, tiles_at, tiles_ld, b, n_segments, queries, 8, fault, fault_op);
        if (!(s.rows > 0 && s.first >= t.first && s.first < subtree))
            continue;
        const int2 has = ranges_of(segments, segments_at, segments_ld, s.segment, n_ranges, 6, fault, fault_op);
        for (int a = has.x; a < has.y; a++) {
            const Span r = span_at(ranges, ranges_at, ranges_ld, a, queries, s.position, s.position + s.rows - 1, window, 7, fault,
                                   fault_op);
            /* keys [lo, hi) of this block are of this range; `place` is where its first would be */
            const int lo = max(r.row - first, 0), hi = min(r.row + r.n - first, count), place = r.position + first - r.row;
            const int rows_end = window ? min(s.rows, place + hi - 1 + window - s.position) : s.rows;
            const int begin = max(0, place + lo - s.position) * share, lines = lo < hi ? rows_end * share : 0;
            for (int at = begin; at < lines; at += MANY) {
                const int n = min((int)MANY, lines - at);
                copy_lines(lq, ROW(q, s.first) + (size_t)group * share * hd, q_ld, at, n, share, hd, width);
                copy_lines(ldo, ROW(dout, s.first) + (size_t)group * share * hd, dout_ld, at, n, share, hd, width);
                for (int g = 0; g < n; g += R) {
                    VEC z[R][NK], dp[R][NK];
                    PRODUCTS(z, lq + g * HD, lk)
                    PRODUCTS(dp, ldo + g * HD, lv)
#pragma unroll
                    for (int i = 0; i < R; i++) {
                        const int l = at + min(g + i, n - 1), row = s.first + l / share, head = group * share + l % share;
                        const float base = ROW(lse, row)[head] * LOG2E, dot_ = dots[(size_t)row * heads + head];
                        const int2 sees_ = seen_by(s.position + l / share, place, hi, window);
                        seen[g + i] = (int2)(max(sees_.x, lo), sees_.y);
#pragma unroll
                        for (int v_ = 0; v_ < NK; v_++) {
                            const VEC score = scores_of(z[i][v_], scale, cap), p = exp2(score - base);
                            VSTORE(p, v_, lp + (g + i) * BK);
                            VSTORE(p * (dp[i][v_] - dot_) * slopes_of(score, cap) * scale, v_, lds + (g + i) * BK);
                        }
                    }
                }
                add_lines(sum_k, lds, lq, seen, n, count, width);
                add_lines(sum_v, lp, ldo, seen, n, count, width);
            }
        }
    }
    for (int j = 0; j < count; j++)
        for (int c = 0; c < hd; c++) {
            STORE(T, ROW(dk, first + j), group * hd + c, sum_k[j * HD + c]);
            STORE(T, ROW(dv, first + j), group * hd + c, sum_v[j * HD + c]);
        }
}
#endif
