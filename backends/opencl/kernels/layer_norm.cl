/* layer_norm.cl - layer normalisation: a group of items for a row. What is summed is what is left when the mean is taken off. */
#ifdef NORM
kernel void layer_norm(IN(TX, x), IN(TW, w), IN(TB, b), OUT(TY, y), OUT(f32, stats), const long n, const float eps, local float *space)
{
    const long row = get_group_id(0);
    const global TX *from = ROW(x, row);
    const global TW *weight = ROW(w, 0);
    const global TB *bias = ROW(b, 0);
    global TY *to = ROW(y, row);
    float sum = 0.0f, squares = 0.0f;
    for (long j = get_local_id(0); j < n; j += get_local_size(0))
        sum += LOAD(TX, from, j);
    const float mean = group_sum(space, sum) / (float)n;
    for (long j = get_local_id(0); j < n; j += get_local_size(0)) {
        const float v = LOAD(TX, from, j) - mean;
        squares += v * v;
    }
    const float r = 1.0f / sqrt(group_sum(space, squares) / (float)n + eps);
    for (long j = get_local_id(0); j < n; j += get_local_size(0))
        STORE(TY, to, j, (LOAD(TX, from, j) - mean) * r * LOAD(TW, weight, j) + LOAD(TB, bias, j));
    if (get_local_id(0) == 0) {
        ROW(stats, row)[0] = mean;
        ROW(stats, row)[1] = r;
    }
}
#endif

#ifdef NORM_BACK
/* With u = dy w and z = (x - mean) rstd: dx = rstd (u - mean(u) - z mean(u z)) + residual. */
kernel void layer_norm_back(IN(TD, dy), IN(TX, x), IN(TW, w), IN(f32, stats), IN(TR, residual), OUT(TY, dx), const long n,
                            local float *space)
{
    const long row = get_group_id(0);
    const global TD *d = ROW(dy, row);
    const global TX *from = ROW(x, row);
    const global TW *weight = ROW(w, 0);
    global TY *to = ROW(dx, row);
    const float mean = ROW(stats, row)[0], r = ROW(stats, row)[1];
    float su = 0.0f, suz = 0.0f;
    for (long j = get_local_id(0); j < n; j += get_local_size(0)) {
        const float u = LOAD(TD, d, j) * LOAD(TW, weight, j);
        su += u;
        suz += u * (LOAD(TX, from, j) - mean) * r;
    }
    const float mu = group_sum(space, su) / (float)n, muz = group_sum(space, suz) / (float)n;
    for (long j = get_local_id(0); j < n; j += get_local_size(0)) {
        float v = r * (LOAD(TD, d, j) * LOAD(TW, weight, j) - mu - (LOAD(TX, from, j) - mean) * r * muz);
#ifdef RESIDUAL
        v += LOAD(TR, ROW(residual, row), j);
#endif
        STORE(TY, to, j, v);
    }
}
#endif
