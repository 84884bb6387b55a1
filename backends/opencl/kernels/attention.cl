/* attention.cl - attention over the forest: a group has BQ lines of a tile against one key head, walks over what they see in blocks
 * of BK keys, and keeps maximum, sum and output of its lines (online softmax). An item scores RQ lines against RK keys and sums
 * RQ lines in RD columns. SPLIT: a group takes one part of the blocks; attention_merge joins the parts. */
#define BQ (TY * RQ)
#define BK (TX * RK)
#define LDP (BK + 1)

#ifdef FORWARD
kernel __attribute__((reqd_work_group_size(TX, TY, 1)))
void attention(IN(T, q), IN(T, k), IN(T, v), IN(i32, segments), IN(i32, ranges), IN(i32, tiles), OUT(T, o), OUT(f32, lse),
               const int queries, const int keys, const int n_segments, const int n_ranges, const int window, const float scale,
               const float cap, const int splits, global float *parts, FAULTS)
{
    local float lq[BQ * LD], lkv[BK * LD], lp[BQ * LDP], red[BQ * TX];
    const int x = get_local_id(0), y = get_local_id(1), item = y * TX + x, split = get_group_id(2) % splits,
              group = get_group_id(2) / splits, from = get_group_id(0) * BQ;
    const Tile t = tile_at(tiles, tiles_at, tiles_ld, get_group_id(1), n_segments, queries, 5, fault, fault_op);
    const int lines = t.rows * SHARE, end = min(from + BQ, lines);
    const int first_position = t.position + from / SHARE, last_position = t.position + (end - 1) / SHARE;
    const int2 has = from < lines ? ranges_of(segments, segments_at, segments_ld, t.segment, n_ranges, 3, fault, fault_op) : (int2)(0);
    float m[RQ], sum[RQ], out[RQ][RD];
    int position[RQ];
    for (int i = 0; i < RQ; i++) {
        m[i] = HIDDEN;
        sum[i] = 0.0f;
        position[i] = t.position + (from + y + i * TY) / SHARE;
        for (int c = 0; c < RD; c++)
            out[i][c] = 0.0f;
    }
    fetch_lines(lq, BQ, ROW(q, t.first) + (size_t)group * SHARE * HD, q_ld, from, end, item);
    int before = 0, first = 0, last = INT_MAX; /* blocks of the ranges so far; this group's are [first, last) */
#ifdef SPLIT
    int all = 0;
    for (int a = has.x; a < has.y; a++)
        all += (span_at(ranges, ranges_at, ranges_ld, a, keys, first_position, last_position, window, 4, fault, fault_op).n + BK - 1) / BK;
    const int each = (all + splits - 1) / splits;
    first = split * each;
    last = first + each;
#endif
    for (int a = has.x; a < has.y; a++) {
        const Span s = span_at(ranges, ranges_at, ranges_ld, a, keys, first_position, last_position, window, 4, fault, fault_op);
        const int blocks = (s.n + BK - 1) / BK, at_end = min(blocks, last - before) * BK;
        for (int at = max(0, first - before) * BK; at < at_end; at += BK) {
            const int n = min(BK, s.n - at), here = s.position + at;
            const global T *keys_here = ROW(k, s.row + at) + (size_t)group * HD;
            /* every line sees all of it */
            const bool whole = n == BK && here + BK - 1 <= first_position && (window == 0 || here > last_position - window);
            float z[RQ][RK];
            barrier(CLK_LOCAL_MEM_FENCE); /* the block before is done with */
            fetch_rows(lkv, BK, keys_here, k_ld, n, item);
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int i = 0; i < RQ; i++)
                for (int j = 0; j < RK; j++)
                    z[i][j] = 0.0f;
#pragma unroll 1
            for (int d = 0; d < 4 * QUADS; d += 4) {
                float4 a4[RQ], b4[RK];
                for (int i = 0; i < RQ; i++)
                    a4[i] = vload4(0, lq + (y + i * TY) * LD + d);
                for (int j = 0; j < RK; j++)
                    b4[j] = vload4(0, lkv + (x + j * TX) * LD + d);
                for (int i = 0; i < RQ; i++)
                    for (int j = 0; j < RK; j++) {
                        z[i][j] += a4[i].x * b4[j].x;
                        z[i][j] += a4[i].y * b4[j].y;
                        z[i][j] += a4[i].z * b4[j].z;
                        z[i][j] += a4[i].w * b4[j].w;
                    }
            }
            for (int i = 0; i < RQ; i++) {
                float most = HIDDEN;
                for (int j = 0; j < RK; j++) {
                    const int key = x + j * TX;
                    const bool seen = whole || (key < n && sees(position[i], here + key, window));
                    z[i][j] = seen ? score_of(z[i][j], scale, cap) : HIDDEN;
                    most = fmax(most, z[i][j]);
                }
                red[(y + i * TY) * TX + x] = most;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            for (int i = 0; i < RQ; i++) {
                const int line = y + i * TY;
                float most = m[i];
                for (int j = 0; j < TX; j++)
                    most = fmax(most, red[line * TX + j]);
                const float shrink = exp2(m[i] - most);
                m[i] = most;
                sum[i] *= shrink;
                for (int c = 0; c < RD; c++)
                    out[i][c] *= shrink;
                for (int j = 0; j < RK; j++) {
                    const bool seen = z[i][j] != HIDDEN;
                    const float p = exp2(z[i][j] - most);
                    sum[i] += seen ? p : 0.0f;
                    lp[line * LDP + x + j * TX] = seen ? p : HIDDEN;
                }
            }
            fetch_rows(lkv, BK, ROW(v, s.row + at) + (size_t)group * HD, v_ld, n, item);
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
                            out[i][c] += p[i] * w[c];
                } else {
                    for (int i = 0; i < RQ; i++)
                        for (int c = 0; c < RD; c++)
                            out[i][c] = p[i] == HIDDEN ? out[i][c] : out[i][c] + p[i] * w[c];
                }
            }
        }
        before += blocks;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < RQ; i++)
        red[(y + i * TY) * TX + x] = sum[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int i = 0; i < RQ; i++) {
        const int line = y + i * TY, l = from + line;
        float total = 0.0f;
        for (int j = 0; j < TX; j++)
            total += red[line * TX + j];
        if (l < end) {
            const int row = t.first + l / SHARE, head = group * SHARE + l % SHARE;
#ifdef SPLIT
            global float *to = parts + ((size_t)split * queries * HEADS + (size_t)row * HEADS + head) * (HD + 2);
            for (int c = 0; c < RD; c++)
                if (x + c * TX < HD)
                    to[x + c * TX] = out[i][c];
            if (x == 0) {
                to[HD] = m[i];
                to[HD + 1] = total;
            }
#else
            global T *to = ROW(o, row) + (size_t)head * HD;
            const bool any = m[i] != HIDDEN || total != 0.0f; /* else it sees nothing (total is NaN if a score is) */
            for (int c = 0; c < RD; c++)
                if (x + c * TX < HD)
                    STORE(T, to, x + c * TX, any ? out[i][c] / total : 0.0f);
            if (x == 0)
                ROW(lse, row)[head] = any ? (m[i] + log2(total)) * LN2 : -INFINITY;
#endif
        }
    }
}
#endif

#ifdef MERGE
/* An item for every element of the output. */
kernel void attention_merge(OUT(T, o), OUT(f32, lse), const int queries, const int splits, const global float *parts)
{
    const long n = (long)queries * HEADS * HD;
    for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
        const long line = i / HD;
        const int c = i % HD;
        float most = HIDDEN, total = 0.0f, out = 0.0f;
        for (int s = 0; s < splits; s++)
            most = fmax(most, parts[((size_t)s * queries * HEADS + line) * (HD + 2) + HD]);
        for (int s = 0; s < splits; s++) {
            const global float *p = parts + ((size_t)s * queries * HEADS + line) * (HD + 2);
            const float w = exp2(p[HD] - most);
            total += w * p[HD + 1];
            out += w * p[c];
        }
        const bool any = most != HIDDEN || total != 0.0f;
        STORE(T, ROW(o, line / HEADS), line % HEADS * HD + c, any ? out / total : 0.0f);
        if (c == 0)
            ROW(lse, line / HEADS)[line % HEADS] = any ? (most + log2(total)) * LN2 : -INFINITY;
    }
}
#endif
