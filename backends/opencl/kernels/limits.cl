/* limits.cl - what a device can do at best: multiply-adds that wait for nothing, memory read and copied in order.
 *
 * LENGTH: floats of a vector, 4, 8 or 16. ALONE: an item is a group of its own and takes memory in one piece, as suits a processor;
 * else neighbours take neighbouring vectors. */
#define VEC CAT(float, LENGTH)
#define VLOAD CAT(vload, LENGTH)
#define VSTORE CAT(vstore, LENGTH)
#ifdef ALONE
#define SHAPE __attribute__((reqd_work_group_size(1, 1, 1))) __attribute__((vec_type_hint(VEC)))
#else
#define SHAPE
#endif
enum { CHAINS = 12 };

static inline float total(VEC v)
{
    float all[LENGTH], sum = 0.0f;
    VSTORE(v, 0, all);
    for (int i = 0; i < LENGTH; i++)
        sum += all[i];
    return sum;
}

/* 2 * CHAINS * LENGTH * times flops an item. a is 0.5 and b 1: the compiler does not know. */
kernel SHAPE void limit_flops(global float *out, const float a, const float b, const int times)
{
    VEC x[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        x[i] = (float)(i + 1) * (float)get_global_id(0);
    for (int t = 0; t < times; t++)
#pragma unroll
        for (int i = 0; i < CHAINS; i++)
            x[i] = mad(x[i], (VEC)a, (VEC)b);
    VEC sum = 0;
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        sum += x[i];
    out[get_global_id(0)] = total(sum);
}

#ifdef ALONE
#define WALK(i)                                                                                                        \
    const long each = (n + get_global_size(0) - 1) / get_global_size(0), first = each * get_global_id(0), end = min(n, first + each); \
    for (long i = first; i < end; i++)
#else
#define WALK(i) for (long i = get_global_id(0); i < n; i += get_global_size(0))
#endif

/* n vectors */
kernel SHAPE void limit_read(const global float *x, global float *out, const long n)
{
    VEC sum = 0;
    WALK(i) sum += VLOAD(i, x);
    out[get_global_id(0)] = total(sum);
}

kernel SHAPE void limit_copy(const global float *x, global float *y, const long n)
{
    WALK(i) VSTORE(VLOAD(i, x), i, y);
}
