/* head.cl - what becomes of a chunk of the output head's logits: z [rows, words] in scratch memory, ld apart, made by the matrix
 * product with its scale and bias applied; row r of it is row first + r of the op's matrices. CAP: logits are soft-capped here. */
static inline float logit_of(float z, float cap)
{
#ifdef CAP
    return cap * tanh(z / cap);
#else
    return z;
#endif
}

enum { ENTROPY = 1, LSS = 2, LOGP_OUT = 4, ENTROPY_OUT = 8, LSS_OUT = 16, LSE_OUT = 32 };

#ifdef SUMS
/* A group for every row: the largest logit, then sums relative to it. */
kernel void head_sums(const global float *z, const long ld, const int words, IN(i32, targets), OUT(f32, logp), OUT(f32, entropy),
                      OUT(f32, lss), OUT(f32, lse), const long first, const float cap, const int flags, local float *space, FAULTS)
{
    const int me = get_local_id(0), step = get_local_size(0);
    const long row = first + get_group_id(0);
    const global float *x = z + get_group_id(0) * (size_t)ld;
    float most = -INFINITY, sum = 0.0f, weighted = 0.0f, squares = 0.0f;
    for (int v = me; v < words; v += step)
        most = fmax(most, logit_of(x[v], cap));
    most = group_max(space, most);
    for (int v = me; v < words; v += step) {
        const float away = logit_of(x[v], cap) - most, e = exp(away);
        sum += e;
        weighted += e == 0.0f ? 0.0f : away * e;
        squares += e * e;
    }
    sum = group_sum(space, sum);
    weighted = group_sum(space, weighted);
    squares = group_sum(space, squares);
    if (me == 0) {
        const int target = ROW(targets, row)[0];
        const bool good = target == -1 || ID_GOOD(2, row, target, -1, words);
        const float log_sum = log(sum);
        if (flags & LOGP_OUT)
            ROW(logp, row)[0] = good && target >= 0 ? logit_of(x[target], cap) - most - log_sum : 0.0f;
        if (flags & ENTROPY_OUT)
            ROW(entropy, row)[0] = flags & ENTROPY ? log_sum - weighted / sum : 0.0f;
        if (flags & LSS_OUT)
            ROW(lss, row)[0] = flags & LSS ? log(squares) - 2.0f * log_sum : 0.0f;
        if (flags & LSE_OUT)
            ROW(lse, row)[0] = most + log_sum;
    }
}
#endif

#ifdef SLOPES
enum { LOGP_GIVEN = 1, ENTROPY_GIVEN = 2, LSS_GIVEN = 4 };

/* z becomes the loss's derivative by the logit before it is capped. Items walk over columns (0) and rows (1). */
kernel void head_slopes(global float *z, const long ld, const int rows, const int words, IN(i32, targets), IN(f32, lse),
                        IN(f32, entropy), IN(f32, lss), IN(f32, g_logp), IN(f32, g_entropy), IN(f32, g_lss), const long first,
                        const float cap, const int given, FAULTS)
{
    for (int i = get_global_id(1); i < rows; i += get_global_size(1)) {
        const long row = first + i;
        const int target = ROW(targets, row)[0];
        const bool good = target == -1 || ID_GOOD(2, row, target, -1, words);
        const float g = (given & LOGP_GIVEN) && good && target >= 0 ? ROW(g_logp, row)[0] : 0.0f;
        const float ge = given & ENTROPY_GIVEN ? ROW(g_entropy, row)[0] : 0.0f, h = given & ENTROPY_GIVEN ? ROW(entropy, row)[0] : 0.0f;
        const float gs = given & LSS_GIVEN ? ROW(g_lss, row)[0] : 0.0f, s = given & LSS_GIVEN ? ROW(lss, row)[0] : 0.0f;
        const float total = ROW(lse, row)[0];
        for (int v = get_global_id(0); v < words; v += get_global_size(0)) {
            global float *at = z + (size_t)i * ld + v;
            const float x = logit_of(*at, cap), log_p = x - total, p = exp(log_p);
            float d = g * ((v == target ? 1.0f : 0.0f) - p), slope = 1.0f;
            if (given & ENTROPY_GIVEN)
                d -= p == 0.0f ? 0.0f : ge * p * (log_p + h);
            if (given & LSS_GIVEN)
                d += gs * 2.0f * p * (exp(log_p - s) - 1.0f);
#ifdef CAP
            slope *= 1.0f - x / cap * (x / cap);
#endif
            *at = d * slope;
        }
    }
}
#endif
