/* sample.cl - a group of items for each sequence draws its token: the filters of sail/sampler.h by searching thresholds, and the draw.
 *
 * No sort is needed: what each filter keeps is a range in the order of some key (the logit, the distance from the entropy, the id
 * among equals), so that a search for its end, two bits of the key a pass, does. The kernels run one after the other and hand on
 * what is kept in a state for each sequence; one that has nothing to do for a sequence passes at once. Sums run in double where the
 * device has it. */
#if defined(cl_khr_fp64) && !defined(NO_FP64)
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double real;
typedef double4 real4;
#define REAL4(a, b, c) (double4)(a, b, c, 0.0)
#else
typedef float real;
typedef float4 real4;
#define REAL4(a, b, c) (float4)(a, b, c, 0.0f)
#endif

/* Kept are keys above `low`, equal ones from id `cut` on; of these weights of at least `least`. */
struct state {
    real raw_total, total, least, limit; /* limit: of the search to come */
    float top, raw_top;
    uint low, cut, best, found;
    int good, active; /* active: the search is wanted */
};

/* A row of the tables that the kernels share. */
#define TABLES global struct state *states, global float *zs, global real *es, global uint *fars, const uint n
#define ROW_OF_TABLES                                                                                                  \
    const long line = get_group_id(0);                                                                                 \
    const uint me = get_local_id(0), size = get_local_size(0);                                                         \
    global struct state *s = states + line;                                                                            \
    global float *z = zs + line * n;   /* logits, after the penalty */                                                 \
    global real *e = es + line * n;    /* weights: exp of what stands above the largest, over the temperature */       \
    global uint *far = fars + line * n /* distance from the entropy, as a key */

/* The order of floats as that of unsigned numbers, and back. */
static inline uint key_of(float z) { const uint u = as_uint(z); return u ^ (u >> 31 ? 0xffffffffu : 0x80000000u); }
static inline float of_key(uint k) { return as_float(k ^ (k >> 31 ? 0x80000000u : 0xffffffffu)); }

static inline int kept(uint low, uint cut, real least, uint key, real e, uint v)
{
    return (key > low || (key == low && v >= cut)) && e >= least;
}

static inline real4 sum4(local real4 *space, real4 v)
{
    const uint me = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    space[me] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {
        if (me < half_)
            space[me] += space[me + half_];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return space[0];
}

/* The item with the largest v, the least id among equals: both to all. */
static inline uint best_of(local float *most, local uint *ids, float v, uint id, float *top)
{
    const uint me = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    most[me] = v;
    ids[me] = id;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {
        if (me < half_) {
            const float a = most[me], b = most[me + half_];
            const uint i = ids[me], k = ids[me + half_];
            ids[me] = a > b ? i : b > a ? k : min(i, k);
            most[me] = fmax(a, b);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    *top = most[0];
    return ids[0];
}

static inline float capped(float z, float cap) { return cap > 0.0f ? (float)(cap * tanh((real)z / cap)) : z; }

/* The logits' largest and their sum of exponentials; the penalty. */
kernel void sample_read(TABLES, IN(f32, logits), IN(f32, params), IN(i32, history), const int past, const float cap, local real4 *space,
                        local float *most, local uint *where, FAULTS)
{
    ROW_OF_TABLES;
    const global float *raw = ROW(logits, line);
    float top = -INFINITY, ignored;
    uint at = n, odd = n;
    for (uint v = me; v < n; v += size) {
        const float x = capped(raw[v], cap);
        if (isnan(x) && odd == n)
            odd = v;
        if (x > top) {
            top = x;
            at = v;
        }
    }
    best_of(most, where, top, at, &top);
    odd = best_of(most, where, 0.0f, odd, &ignored);
    real4 sum = REAL4(0, 0, 0);
    for (uint v = me; v < n; v += size) {
        const float x = capped(raw[v], cap) + 0.0f; /* -0 is 0: equals have one key */
        z[v] = x;
        sum.x += exp((real)x - (real)top);
    }
    const real total = sum4(space, sum).x;
#ifdef HISTORY
    barrier(CLK_GLOBAL_MEM_FENCE);
    const float penalty = ROW(params, line)[PENALTY];
    const int met = penalty > 0.0f && penalty != 1.0f ? past : 0;
    for (int i = me; i < met; i += size) {
        const int id = ROW(history, line)[i];
        if (id >= 0 && (uint)id < n) { /* from the logit itself: an id met twice is punished once */
            const float x = capped(raw[id], cap);
            z[id] = (x < 0.0f ? x * penalty : x / penalty) + 0.0f;
        }
    }
#endif
    if (me == 0) {
        const int good = odd == n && isfinite(top);
        if (!good)
            report(fault, fault_op, -1, (int)line, odd < n ? (int)odd : -1, 0, 0);
        s->raw_top = top;
        s->raw_total = total;
        s->good = good;
    }
}

/* The largest after the penalty; top-k is to be searched. */
kernel void sample_top(TABLES, IN(f32, params), local float *most, local uint *where, FAULTS)
{
    ROW_OF_TABLES;
    const global float *p = ROW(params, line);
    float top = -INFINITY;
    uint at = n;
    for (uint v = me; v < n; v += size)
        if (z[v] > top) {
            top = z[v];
            at = v;
        }
    at = best_of(most, where, top, at, &top);
    if (me == 0) {
        if (s->good && !isfinite(top)) {
            report(fault, fault_op, -1, (int)line, -1, 0, 0);
            s->good = 0;
        }
        s->top = top;
        s->best = at < n ? at : 0;
        s->low = s->cut = 0;
        s->least = 0;
        s->active = s->good && p[TEMPERATURE] > 0.0f && p[TOP_K] > 0.0f && p[TOP_K] < (float)n;
        s->limit = s->active ? (real)(n - (uint)p[TOP_K]) : 0;
    }
}

/* found: the largest key below which no more than `limit` lies (STRICT: less than). BY: 0 the logit, each counting 1; 1 the logit,
 * by weight; 2 the id among equals at `low`; 3 the distance, by weight. */
#ifdef BY
kernel void sample_search(TABLES, local real4 *space)
{
    ROW_OF_TABLES;
    const uint low = s->low, cut = s->cut;
    const real least = s->least, limit = s->limit;
    const int bits = s->active ? 32 : 0;
    uint found = 0;
    for (int done = 0; done < bits; done += 2) {
        const int shift = 30 - done;
        const uint c1 = found | 1u << shift, c2 = found | 2u << shift, c3 = found | 3u << shift;
        real4 sum = REAL4(0, 0, 0);
        for (uint v = me; v < n; v += size) {
            const uint k = key_of(z[v]);
#if BY == 0
            const uint key = k;
            const real w = 1;
#elif BY == 1
            const uint key = k;
            const real w = kept(low, cut, least, k, e[v], v) ? e[v] : 0;
#elif BY == 2
            const uint key = v;
            const real w = k == low;
#else
            const uint key = far[v];
            const real w = kept(low, cut, least, k, e[v], v) ? e[v] : 0;
#endif
            sum += REAL4(key < c1 ? w : 0, key < c2 ? w : 0, key < c3 ? w : 0);
        }
        const real4 below = sum4(space, sum);
#if BY == 3
        found = below.z < limit ? c3 : below.y < limit ? c2 : below.x < limit ? c1 : found;
#else
        found = below.z <= limit ? c3 : below.y <= limit ? c2 : below.x <= limit ? c1 : found;
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (me == 0)
        s->found = found;
}
#endif

/* Weights, of what top-k keeps; top-p is to be searched. */
kernel void sample_weigh(TABLES, IN(f32, params), local real4 *space)
{
    ROW_OF_TABLES;
    const global float *p = ROW(params, line);
    const uint low = s->active ? s->found : 0;
    const real top = s->top, temperature = p[TEMPERATURE] > 0.0f ? p[TEMPERATURE] : 1.0f;
    real4 sum = REAL4(0, 0, 0);
    for (uint v = me; v < n; v += size) {
        const real w = key_of(z[v]) < low ? 0 : exp(((real)z[v] - top) / temperature);
        e[v] = w;
        sum.x += w;
    }
    sum = sum4(space, sum);
    if (me == 0) {
        s->low = low;
        s->total = sum.x;
        s->active = s->good && p[TEMPERATURE] > 0.0f && p[TOP_P] < 1.0f;
        s->limit = (1 - (real)p[TOP_P]) * sum.x;
    }
}

/* What top-p keeps but for the equals at its key, of which the lowest ids may go: these are to be searched. */
kernel void sample_top_p(TABLES, IN(f32, params), local real4 *space)
{
    ROW_OF_TABLES;
    const uint low = s->low, key = min(s->found, key_of(s->top));
    const real limit = s->limit, temperature = ROW(params, line)[TEMPERATURE];
    const int active = s->active;
    const uint end = active ? n : 0;
    real4 sum = REAL4(0, 0, 0);
    for (uint v = me; v < end; v += size) {
        const uint k = key_of(z[v]);
        const real w = k >= low ? e[v] : 0;
        sum += REAL4(k < key ? w : 0, k >= low && k == key, 0);
    }
    sum = sum4(space, sum);
    if (me == 0 && active) {
        const real each = exp(((real)of_key(key) - (real)s->top) / temperature);
        const real gone = clamp(floor((limit - sum.x) / each), (real)0, max(sum.y - 1, (real)0));
        s->low = key;
        s->limit = gone;
        s->active = gone > 0;
    }
}

/* Min-p; the entropy of what is left, and how far from it each is: typical is to be searched. */
kernel void sample_typical(TABLES, IN(f32, params), local real4 *space)
{
    ROW_OF_TABLES;
    const global float *p = ROW(params, line);
    const uint low = s->low, cut = s->active ? s->found : 0, best = s->best;
    const int on = s->good && p[TEMPERATURE] > 0.0f;
    const int wanted = on && p[TYPICAL] > 0.0f && p[TYPICAL] < 1.0f;
    const uint end = wanted ? n : 0;
    const real least = on && p[MIN_P] > 0.0f && kept(low, cut, 0, key_of(z[best]), e[best], best) ? (real)p[MIN_P] * e[best] : 0;
    real4 sum = REAL4(0, 0, 0);
    for (uint v = me; v < n; v += size)
        sum.x += kept(low, cut, least, key_of(z[v]), e[v], v) ? e[v] : 0;
    const real total = sum4(space, sum).x;
    sum = REAL4(0, 0, 0);
    for (uint v = me; v < end; v += size)
        if (e[v] > 0 && kept(low, cut, least, key_of(z[v]), e[v], v))
            sum.x -= e[v] / total * log(e[v] / total);
    const real entropy = sum4(space, sum).x;
    for (uint v = me; v < end; v += size)
        far[v] = e[v] > 0 ? as_uint((float)fabs(-log(e[v] / total) - entropy)) : 0xffffffffu;
    if (me == 0) {
        s->cut = cut;
        s->least = least;
        s->active = wanted;
        s->limit = (real)p[TYPICAL] * total;
    }
}

/* The draw: each item sums a run of ids; the first walks over the runs, then over the ids of one. */
kernel void sample_draw(TABLES, IN(f32, logits), IN(f32, params), IN(i32, keys), OUT(i32, ids), OUT(f32, logp), OUT(f32, sampled),
                        const float cap, local real4 *space)
{
    ROW_OF_TABLES;
    const uint low = s->low, cut = s->cut, most_far = s->active ? s->found : 0xffffffffu;
    const int typical = s->active;
    const real least = s->least;
    const uint run = (n + size - 1) / size, first = min(n, me * run), last = min(n, first + run);
    real4 sum = REAL4(0, 0, 0);
    for (uint v = first; v < last; v++) {
        const real w = kept(low, cut, least, key_of(z[v]), e[v], v) && !(typical && far[v] > most_far) ? e[v] : 0;
        e[v] = w;
        sum.x += w;
    }
    space[me] = sum;
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    if (me == 0) {
        const global int *k = ROW(keys, line);
        const uint4 words = random_words((ulong)(uint)k[0] | (ulong)(uint)k[1] << 32, PURPOSE, (ulong)(uint)k[2] | (ulong)(uint)k[3] << 32,
                                         (ulong)(uint)k[4], (ulong)(uint)k[5]);
        const ulong cell = ((ulong)words.x << 32 | words.y) >> 12;
        const real u = (real)(2 * cell + 1) * (real)0x1p-53f;
        const int greedy = !(ROW(params, line)[TEMPERATURE] > 0.0f) || !s->good;
        real total = 0, passed = 0, base = 0;
        uint chosen = 0, id = s->best;
        for (uint i = 0; i < size; i++)
            total += space[i].x;
        for (uint i = 0; i < size && !(passed > u * total); i++)
            if (space[i].x > 0) {
                chosen = i;
                base = passed;
                passed += space[i].x;
            }
        const uint begin = greedy ? n : chosen * run, end = min(n, (chosen + 1) * run);
        passed = base;
        for (uint v = begin; v < end && !(passed > u * total); v++)
            if (e[v] > 0) {
                passed += e[v];
                id = v;
            }
        *ROW(ids, line) = (int)id;
        *ROW(logp, line) = (float)((real)capped(ROW(logits, line)[id], cap) - (real)s->raw_top - log(s->raw_total));
        *ROW(sampled, line) = greedy ? 0.0f : (float)log(e[id] / total);
    }
}
