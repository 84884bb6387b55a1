/* norm.cl - root mean square normalisation: a group of items for each of the `parts` equal parts of a row; and sums over rows, in
 * two passes of fixed blocks. */
#ifdef NORM
kernel void rms_norm(IN(TX, x), IN(TW, w), OUT(TY, y), OUT(f32, rstd), const int parts, const long n, const float eps, const float plus,
                     local float *space)
{
    const long row = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const global TX *from = ROW(x, row) + part * n;
    const global TW *weight = ROW(w, 0);
    global TY *to = ROW(y, row) + part * n;
    float sum = 0.0f;
    for (long j = get_local_id(0); j < n; j += get_local_size(0)) {
        const float v = LOAD(TX, from, j);
        sum += v * v;
    }
    const float r = 1.0f / sqrt(group_sum(space, sum) / (float)n + eps);
    for (long j = get_local_id(0); j < n; j += get_local_size(0))
        STORE(TY, to, j, LOAD(TX, from, j) * r * (LOAD(TW, weight, j) + plus));
    if (get_local_id(0) == 0)
        ROW(rstd, row)[part] = r;
}
#endif

#ifdef NORM_BACK
/* With u = dy (w + plus) and z = x rstd: dx = rstd (u - z mean(u z)) + residual. */
kernel void rms_norm_back(IN(TD, dy), IN(TX, x), IN(TW, w), IN(f32, rstd), IN(TR, residual), OUT(TY, dx), const int parts, const long n,
                          const float plus, local float *space)
{
    const long row = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const global TD *d = ROW(dy, row) + part * n;
    const global TX *from = ROW(x, row) + part * n;
    const global TW *weight = ROW(w, 0);
    global TY *to = ROW(dx, row) + part * n;
    const float r = ROW(rstd, row)[part];
    float sum = 0.0f;
    for (long j = get_local_id(0); j < n; j += get_local_size(0))
        sum += LOAD(TD, d, j) * (LOAD(TW, weight, j) + plus) * (LOAD(TX, from, j) * r);
    const float mean = group_sum(space, sum) / (float)n;
    for (long j = get_local_id(0); j < n; j += get_local_size(0)) {
        float v = r * (LOAD(TD, d, j) * (LOAD(TW, weight, j) + plus) - LOAD(TX, from, j) * r * mean);
#ifdef RESIDUAL
        v += LOAD(TR, ROW(residual, row) + part * n, j);
#endif
        STORE(TY, to, j, v);
    }
}
#endif

#ifdef COLUMNS
/* Block b of `each` units (parts of rows) into row b of sums[blocks, n]; NORM_WEIGHT: of dy x rstd, LAYER_WEIGHT: of dy (x - mean) rstd,
 * else of dy. stats: rstd of each part, or mean and rstd of a row. */
kernel void column_blocks(IN(TD, dy), IN(TX, x), IN(f32, stats), global float *sums, const int parts, const long n, const long units,
                          const long each)
{
    const long j = get_global_id(0), b = get_global_id(1), last = min(units, (b + 1) * each);
    if (j < n) {
        float sum = 0.0f;
        for (long u = b * each; u < last; u++) {
            const long row = u / parts, part = u % parts;
            float v = LOAD(TD, ROW(dy, row) + part * n, j);
#ifdef NORM_WEIGHT
            v *= LOAD(TX, ROW(x, row) + part * n, j) * ROW(stats, row)[part];
#endif
#ifdef LAYER_WEIGHT
            v *= (LOAD(TX, ROW(x, row), j) - ROW(stats, row)[0]) * ROW(stats, row)[1];
#endif
            sum += v;
        }
        sums[b * n + j] = sum;
    }
}

kernel void column_sum(const global float *sums, OUT(f32, y), const long n, const long blocks, const int accumulate)
{
    const long j = get_global_id(0);
    if (j < n) {
        float sum = 0.0f;
        for (long b = 0; b < blocks; b++)
            sum += sums[b * n + j];
        global float *to = ROW(y, 0) + j;
        *to = accumulate ? *to + sum : sum;
    }
}
#endif
