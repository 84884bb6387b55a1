/* attention_back.cl - the derivative of attention, without the scores ever being kept. With p = e^(s - lse) and D = do.o for each
 * row and head: dv = p' do, ds = p (do v' - D) slope, dq = scale ds k, dk = scale ds' q.
 *
 * DOTS: D. QUERY: a group has BQ lines of a tile and walks over the keys they see in blocks of BK, as the forward pass. KEY: a group
 * has BQ keys of a tile and walks over the lines that may see them, BK at a time: those of tiles from its own to the end of its
 * segment's subtree, all heads of the key's group among them. No two groups write the same rows; each sums in a fixed order. */
#define BQ (TY * RQ)
#define BK (TX * RK)
#define LDP (BK + 1)

#ifdef DOTS
kernel void attention_dots(IN(T, dout), IN(T, o), const int queries, global float *dots)
{
    for (long i = get_global_id(0); i < (long)queries * HEADS; i += get_global_size(0)) {
        const global T *a = ROW(dout, i / HEADS) + i % HEADS * HD, *b = ROW(o, i / HEADS) + i % HEADS * HD;
        float sum = 0.0f;
        for (int c = 0; c < HD; c++)
            sum += LOAD(T, a, c) * LOAD(T, b, c);
        dots[i] = sum;
    }
}
#endif

/* to[i][j]: rows y + i TY of a times rows x + j TX of b, both in local memory. */
#define PRODUCTS(to, a, b)                                                                                             \
    for (int i = 0; i < RQ; i++)                                                                                       \
        for (int j = 0; j < RK; j++)                                                                                   \
            to[i][j] = 0.0f;                                                                                           \
    _Pragma("unroll 1")                                                                                                \
    for (int d = 0; d < 4 * QUADS; d += 4) {                                                                           \
        float4 a4[RQ], b4[RK];                                                                                         \
        for (int i = 0; i < RQ; i++)                                                                                   \
            a4[i] = vload4(0, a + (y + i * TY) * LD + d);                                                              \
        for (int j = 0; j < RK; j++)                                                                                   \
            b4[j] = vload4(0, b + (x + j * TX) * LD + d);                                                              \
        for (int i = 0; i < RQ; i++)                                                                                   \
            for (int j = 0; j < RK; j++) {                                                                             \
                to[i][j] += a4[i].x * b4[j].x;                                                                         \
                to[i][j] += a4[i].y * b4[j].y;                                                                         \
                to[i][j] += a4[i].z * b4[j].z;                                                                         \
                to[i][j] += a4[i].w * b4[j].w;                                                                         \
            }                                                                                                          \
    }

#ifdef QUERY
kernel __attribute__((reqd_work_group_size(TX, TY, 1)))
void attention_back_query(IN(T, dout), IN(T, q), IN(T, k), IN(T, v), IN(f32, lse), IN(i32, segments), IN(i32, ranges),
                          IN(i32, tiles), OUT(T, dq), const int queries, const int n_segments, const int n_ranges,
                          const int window, const float scale, const float cap, const global float *dots, FAULTS)
{
    local float lq[BQ * LD], ldo[BQ * LD], lkv[BK * LD], lp[BQ * LDP];
    const int x = get_local_id(0), y = get_local_id(1), item = y * TX + x, group = get_group_id(2), from = get_group_id(0) * BQ;
    const Tile t = tile_at(tiles, tiles_at, tiles_ld, get_group_id(1), n_segments, queries, 8, fault, fault_op);
    const int lines = t.rows * SHARE, end = min(from + BQ, lines);
    const int first_position = t.position + from / SHARE, last_position = t.position + (end - 1) / SHARE;
    const int2 has = from < lines ? ranges_of(segments, segments_at, segments_ld, t.segment, n_ranges, 6, fault, fault_op) : (int2)(0);
    float sum[RQ][RD], base[RQ], dot_[RQ];
    for (int i = 0; i < RQ; i++) {
        const int l = min(from + y + i * TY, max(end - 1, 0)), row = t.first + l / SHARE, head = group * SHARE + l % SHARE;
        base[i] = ROW(lse, row)[head] * LOG2E;
        dot_[i] = dots[(size_t)row * HEADS + head];
        for (int c = 0; c < RD; c++)
            sum[i][c] = 0.0f;
    }
    fetch_lines(lq, BQ, ROW(q, t.first) + (size_t)group * SHARE * HD, q_ld, from, end, item);
    fetch_lines(ldo, BQ, ROW(dout, t.first) + (size_t)group * SHARE * HD, dout_ld, from, end, item);
    for (int a = has.x; a < has.y; a++) {
        const Span s = span_at(ranges, ranges_at, ranges_ld, a, queries, first_position, last_position, window, 7, fault, fault_op);
        for (int at = 0; at < s.n; at += BK) {
            const int n = min(BK, s.n - at), here = s.position + at;
            /* every line sees all of it */
            const bool whole = n == BK && here + BK - 1 <= first_position && (window == 0 || here > last_position - window);
            float z[RQ][RK], dp[RQ][RK];
            barrier(CLK_LOCAL_MEM_FENCE); /* the block before is done with */
            fetch_rows(lkv, BK, ROW(v, s.row + at) + (size_t)group * HD, v_ld, n, item);
            barrier(CLK_LOCAL_MEM_FENCE);
            PRODUCTS(dp, ldo, lkv)
            barrier(CLK_LOCAL_MEM_FENCE);
            fetch_rows(lkv, BK, ROW(k, s.row + at) + (size_t)group * HD, k_ld, n, item);
            barrier(CLK_LOCAL_MEM_FENCE);
            PRODUCTS(z, lq, lkv)
            for (int i = 0; i < RQ; i++)
                for (int j = 0; j < RK; j++) {
                    const int key = x + j * TX, line = y + i * TY;
                    const bool seen = whole || (key < n && sees(t.position + (from + line) / SHARE, here + key, window));
                    const float score = score_of(z[i][j], scale, cap);
                    const float ds = exp2(score - base[i]) * (dp[i][j] - dot_[i]) * SLOPE(score, cap) * scale;
                    lp[line * LDP + key] = seen ? ds : HIDDEN;
                }
            barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 2
            for (int j = 0; j < n; j++) {
                float p[RQ], w[RD];
                for (int i = 0; i < RQ; i++)
                    p[i] = lp[(y + i * TY) * LDP + j];
                for (int c = 0; c < RD; c++)
                    w[c] = lkv[j * LD + x + c * TX];
                if (whole) {
                    for (int i = 0; i < RQ; i++)
                        for (int c = 0; c < RD; c++)
                            sum[i][c] += p[i] * w[c];
                } else {
                    for (int i = 0; i < RQ; i++)
                        for (int c = 0; c < RD; c++)
                            sum[i][c] = p[i] == HIDDEN ? sum[i][c] : sum[i][c] + p[i] * w[c];
                }
            }
        }
    }
    for (int i = 0; i < RQ; i++) {
        const int l = from + y + i * TY;
        if (l < end) {
            global T *to = ROW(dq, t.first + l / SHARE) + (size_t)(group * SHARE + l % SHARE) * HD;
            for (int c = 0; c < RD; c++)
                if (x + c * TX < HD)
                    STORE(T, to, x + c * TX, sum[i][c]);
        }
    }
}
#endif

#ifdef KEY
kernel __attribute__((reqd_work_group_size(TX, TY, 1)))
void attention_back_key(IN(T, dout), IN(T, q), IN(T, k), IN(T, v), IN(f32, lse), IN(i32, segments), IN(i32, ranges),
                        IN(i32, tiles), OUT(T, dk), OUT(T, dv), const int queries, const int n_segments, const int n_ranges,
                        const int n_tiles, const int window, const float scale, const float cap, const global float *dots, FAULTS)
{
    local float lk[BQ * LD], lv[BQ * LD], lq[BK * LD], ldo[BK * LD], lp[BQ * LDP], lds[BQ * LDP], base[BK], dot_[BK];
    const int x = get_local_id(0), y = get_local_id(1), item = y * TX + x, group = get_group_id(2), from = get_group_id(0) * BQ;
    const Tile t = tile_at(tiles, tiles_at, tiles_ld, get_group_id(1), n_segments, queries, 8, fault, fault_op);
    const int count = clamp(t.rows - from, 0, BQ), first = t.first + from; /* keys */
    const int subtree = segments[segments_at + (size_t)t.segment * (size_t)segments_ld + 4], b_end = count > 0 ? n_tiles : 0;
    float sum_k[RQ][RD], sum_v[RQ][RD];
    for (int i = 0; i < RQ; i++)
        for (int c = 0; c < RD; c++)
            sum_k[i][c] = sum_v[i][c] = 0.0f;
    fetch_rows(lk, BQ, ROW(k, first) + (size_t)group * HD, k_ld, count, item);
    fetch_rows(lv, BQ, ROW(v, first) + (size_t)group * HD, v_ld, count, item);
    for (int b = 0; b < b_end; b++) {
        const Tile s = tile_at(tiles, tiles_at, tiles_ld, b, n_segments, queries, 8, fault, fault_op);
        const bool below = s.rows > 0 && s.first >= t.first && s.first < subtree;
        const int2 has = below ? ranges_of(segments, segments_at, segments_ld, s.segment, n_ranges, 6, fault, fault_op) : (int2)(0);
        const global T *queries_here = ROW(q, s.first) + (size_t)group * SHARE * HD;
        const global T *douts_here = ROW(dout, s.first) + (size_t)group * SHARE * HD;
        for (int a = has.x; a < has.y; a++) {
            const Span r = span_at(ranges, ranges_at, ranges_ld, a, queries, s.position, s.position + s.rows - 1, window, 7, fault,
                                   fault_op);
            /* keys [lo, hi) of this group are of this range; `place` is where its first would be */
            const int lo = max(r.row - first, 0), hi = min(r.row + r.n - first, count), place = r.position + first - r.row;
            const int rows_end = window ? min(s.rows, place + hi - 1 + window - s.position) : s.rows;
            const int begin = max(0, place + lo - s.position) * SHARE, lines = lo < hi ? rows_end * SHARE : 0;
            for (int at = begin; at < lines; at += BK) {
                const int n = min(BK, lines - at);
                /* every line sees all keys */
                const bool whole = n == BK && lo == 0 && hi == BQ && s.position + at / SHARE >= place + BQ - 1 &&
                                   (window == 0 || place > s.position + (at + BK - 1) / SHARE - window);
                float z[RQ][RK], dp[RQ][RK];
                barrier(CLK_LOCAL_MEM_FENCE); /* the block before is done with */
                fetch_lines(lq, BK, queries_here, q_ld, at, at + n, item);
                fetch_lines(ldo, BK, douts_here, dout_ld, at, at + n, item);
                for (int i = item; i < BK; i += ITEMS) {
                    const int l = at + min(i, n - 1), row = s.first + l / SHARE, head = group * SHARE + l % SHARE;
                    base[i] = ROW(lse, row)[head] * LOG2E;
                    dot_[i] = dots[(size_t)row * HEADS + head];
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                PRODUCTS(z, lk, lq)
                PRODUCTS(dp, lv, ldo)
                for (int i = 0; i < RQ; i++)
                    for (int j = 0; j < RK; j++) {
                        const int key = y + i * TY, line = x + j * TX;
                        const bool seen = whole || (key >= lo && key < hi && line < n &&
                                                    sees(s.position + (at + line) / SHARE, place + key, window));
                        const float score = score_of(z[i][j], scale, cap), p = exp2(score - base[line]);
                        lp[key * LDP + line] = seen ? p : HIDDEN;
                        lds[key * LDP + line] = p * (dp[i][j] - dot_[line]) * SLOPE(score, cap) * scale;
                    }
                barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
                for (int j = 0; j < n; j++)
                    for (int i = 0; i < RQ; i++) {
                        const float p = lp[(y + i * TY) * LDP + j], ds = lds[(y + i * TY) * LDP + j];
                        const bool seen = p != HIDDEN;
                        for (int c = 0; c < RD; c++) {
                            sum_k[i][c] = seen ? sum_k[i][c] + ds * lq[j * LD + x + c * TX] : sum_k[i][c];
                            sum_v[i][c] = seen ? sum_v[i][c] + p * ldo[j * LD + x + c * TX] : sum_v[i][c];
                        }
                    }
            }
        }
    }
    for (int i = 0; i < RQ; i++) {
        const int key = y + i * TY;
        if (key < count)
            for (int c = 0; c < RD; c++)
                if (x + c * TX < HD) {
                    STORE(T, ROW(dk, first + key), group * HD + x + c * TX, sum_k[i][c]);
                    STORE(T, ROW(dv, first + key), group * HD + x + c * TX, sum_v[i][c]);
                }
    }
}
#endif
