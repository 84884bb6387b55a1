/* optim.cl - the norm of the gradient, the guard, and the updates; sail/optimizer.h states them. The offsets of the control block
 * (RATE …) come from there, as macros. */
/* A sum and what its rounding lost (Knuth's two-sum). */
static inline float2 add2(float2 a, float2 b)
{
    const float s = a.x + b.x, t = s - a.x;
    return (float2)(s, (a.x - (s - t)) + (b.x - t) + (a.y + b.y));
}

static inline float whole(float2 a) { return isfinite(a.x) ? a.x + a.y : a.x; }

#ifdef SQUARES
kernel void squares_blocks(IN(f32, x), global float2 *sums, const long n, const int each, local float2 *space)
{
    const long first = (long)get_group_id(0) * each, last = min(n, first + each);
    const global float *p = ROW(x, 0);
    const uint me = get_local_id(0);
    float2 sum = (float2)(0.0f, 0.0f);
    for (long j = first + me; j < last; j += get_local_size(0))
        sum = add2(sum, (float2)(p[j] * p[j], 0.0f));
    space[me] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {
        if (me < half_)
            space[me] = add2(space[me], space[me + half_]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (me == 0)
        sums[get_group_id(0)] = space[0];
}

kernel void squares_sum(const global float2 *sums, OUT(f32, total), const long blocks, const int accumulate)
{
    global float *to = ROW(total, 0);
    float2 sum = (float2)(accumulate ? *to : 0.0f, 0.0f);
    for (long b = 0; b < blocks; b++)
        sum = add2(sum, sums[b]);
    *to = whole(sum);
}
#endif

#ifdef CLIP_NORM
kernel void clip_norm(IN(f32, total), OUT(f32, control))
{
    global float *c = ROW(control, 0);
    const float times = c[MULTIPLIER], most = c[MAX_NORM], norm = sqrt(*ROW(total, 0)) * fabs(times);
    const int skip = !isfinite(norm) || !isfinite(c[LOSS]) || c[HOST_SKIP] != 0.0f;
    float clip = times;
    if (!skip && most > 0.0f && most < norm + 1e-6f)
        clip *= most / (norm + 1e-6f);
    c[NORM] = norm;
    c[SKIP] = skip;
    c[CLIP] = skip ? 0.0f : clip;
}
#endif

#ifdef ADAMW
kernel void adamw(IN(f32, g), IN(f32, control), OUT(f32, w), OUT(f32, m), OUT(f32, v), OUT(bf16, shadow), const long n, const float beta1,
                  const float beta2, const float rest1, const float rest2, const float eps, const float decay)
{
    const global float *c = ROW(control, 0), *from = ROW(g, 0);
    const float lr = c[RATE], clip = c[CLIP], c1 = c[CORRECTION1], c2 = c[CORRECTION2];
    global float *weight = ROW(w, 0), *first = ROW(m, 0), *second = ROW(v, 0);
    if (c[SKIP] == 0.0f)
        for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
            const float x = from[i] * clip, a = beta1 * first[i] + rest1 * x, b = beta2 * second[i] + rest2 * x * x;
            float y = weight[i] * (1.0f - lr * decay);
            y -= lr / c1 * a / (sqrt(b / c2) + eps);
            first[i] = a;
            second[i] = b;
            weight[i] = y;
#ifdef SHADOW
            ROW(shadow, 0)[i] = to_bf16(y);
#endif
        }
}
#endif

#ifdef RMSPROP
kernel void rmsprop(IN(f32, g), IN(f32, control), OUT(f32, w), OUT(f32, v), OUT(f32, buf), OUT(f32, avg), OUT(bf16, shadow),
                    const long n, const float alpha, const float rest, const float eps, const float decay, const float momentum)
{
    const global float *c = ROW(control, 0), *from = ROW(g, 0);
    const float lr = c[RATE], clip = c[CLIP];
    global float *weight = ROW(w, 0), *second = ROW(v, 0);
    if (c[SKIP] == 0.0f)
        for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
            float y = weight[i];
            const float x = from[i] * clip + decay * y, b = alpha * second[i] + rest * x * x;
            float spread = b;
            second[i] = b;
#ifdef CENTERED
            const float mean = alpha * ROW(avg, 0)[i] + rest * x;
            ROW(avg, 0)[i] = mean;
            spread -= mean * mean;
#endif
            float step_ = x / (sqrt(spread > 0.0f || isnan(spread) ? spread : 0.0f) + eps);
#ifdef MOMENTUM
            step_ += momentum * ROW(buf, 0)[i];
            ROW(buf, 0)[i] = step_;
#endif
            y -= lr * step_;
            weight[i] = y;
#ifdef SHADOW
            ROW(shadow, 0)[i] = to_bf16(y);
#endif
        }
}
#endif

#ifdef SGD
kernel void sgd(IN(f32, g), IN(f32, control), OUT(f32, w), OUT(f32, buf), OUT(bf16, shadow), const long n, const float decay,
                const float momentum, const float rest)
{
    const global float *c = ROW(control, 0), *from = ROW(g, 0);
    const float lr = c[RATE], clip = c[CLIP];
    const int fresh = c[STEP] == 1.0f;
    global float *weight = ROW(w, 0);
    if (c[SKIP] == 0.0f)
        for (long i = get_global_id(0); i < n; i += get_global_size(0)) {
            float y = weight[i], step_ = from[i] * clip + decay * y;
#ifdef MOMENTUM
            if (!fresh)
                step_ = momentum * ROW(buf, 0)[i] + rest * step_;
            ROW(buf, 0)[i] = step_;
#endif
            y -= lr * step_;
            weight[i] = y;
#ifdef SHADOW
            ROW(shadow, 0)[i] = to_bf16(y);
#endif
        }
}
#endif
