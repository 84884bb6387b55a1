/* prelude.cl - what every program begins with: storage types, loads and stores, reports.
 *
 * Storage types by the name sail gives them: f32, i32, u8 as they are; bf16 and f16 as their bits. Arithmetic is float. */
typedef float f32;
typedef int i32;
typedef uchar u8;
typedef ushort bf16;
typedef ushort f16;

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)

/* Element i at p, which points to a T, as float (i32: int). */
#define LOAD(T, p, i) CAT(load_, T)(p, i)
/* v, rounded to nearest even, to element i at p. */
#define STORE(T, p, i, v) CAT(store_, T)(p, i, v)

static inline float load_f32(const global float *p, size_t i) { return p[i]; }
static inline int load_i32(const global int *p, size_t i) { return p[i]; }
static inline float load_bf16(const global ushort *p, size_t i) { return as_float((uint)p[i] << 16); }
static inline float load_f16(const global ushort *p, size_t i) { return vload_half(i, (const global half *)p); }

static inline ushort to_bf16(float v)
{
    const uint u = as_uint(v);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (ushort)((u >> 16) | 0x40u);
    return (ushort)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

static inline void store_f32(global float *p, size_t i, float v) { p[i] = v; }
static inline void store_i32(global int *p, size_t i, int v) { p[i] = v; }
static inline void store_bf16(global ushort *p, size_t i, float v) { p[i] = to_bf16(v); }
static inline void store_f16(global ushort *p, size_t i, float v) { vstore_half_rte(v, i, (global half *)p); }

/* A matrix among a kernel's parameters (three arguments: ocl_matrix): element [i, j] is x[x_at + i * x_ld + j]. */
#define IN(T, x) const global T *x, const ulong x##_at, const long x##_ld
#define OUT(T, x) global T *x, const ulong x##_at, const long x##_ld
/* The address of row i. */
#define ROW(x, i) (x + x##_at + (size_t)(i) * (size_t)x##_ld)

/* Two arguments (ocl_faults): the first report is kept. */
#define FAULTS global int *fault, const int fault_op
static inline void report(global int *fault, int op, int operand, int row, int value, int least, int end)
{
    if (atomic_cmpxchg((volatile global int *)fault, 0, op) == 0) {
        fault[1] = operand;
        fault[2] = row;
        fault[3] = value;
        fault[4] = least;
        fault[5] = end;
    }
}
/* Is id in [least, end)? Else tell. */
#define ID_GOOD(operand, row, id, least, end)                                                                          \
    ((id) >= (least) && (id) < (end) ? true : (report(fault, fault_op, operand, (int)(row), id, least, (int)(end)), false))

#ifdef SUBGROUPS /* ocl_subgroup_options */
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#ifdef SUBGROUP_REQUIRED
#define SUBGROUP_SIZE __attribute__((intel_reqd_sub_group_size(SUBGROUP_REQUIRED)))
#else
#define SUBGROUP_SIZE
#endif
/* The result of a sub-group's reduction, from each of them. */
#define GROUP_OF_SUBGROUPS(reduce, join)                                                                               \
    v = reduce(v);                                                                                                     \
    barrier(CLK_LOCAL_MEM_FENCE); /* an earlier result may still be read */                                            \
    if (get_sub_group_local_id() == 0)                                                                                 \
        space[get_sub_group_id()] = v;                                                                                 \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                      \
    v = space[0];                                                                                                      \
    for (uint i = 1; i < get_num_sub_groups(); i++)                                                                    \
        v = join;                                                                                                      \
    return v;
#endif

/* The sum of v over a one-dimensional group of a power of two of items; space: one float each. Every item must get here. */
static inline float group_sum(local float *space, float v)
{
#ifdef SUBGROUPS
    GROUP_OF_SUBGROUPS(sub_group_reduce_add, v + space[i])
#else
    const uint me = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE); /* an earlier result may still be read */
    space[me] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {
        if (me < half_)
            space[me] += space[me + half_];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return space[0];
#endif
}

/* The largest, likewise. */
static inline float group_max(local float *space, float v)
{
#ifdef SUBGROUPS
    GROUP_OF_SUBGROUPS(sub_group_reduce_max, fmax(v, space[i]))
#else
    const uint me = get_local_id(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    space[me] = v;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint half_ = get_local_size(0) / 2; half_ > 0; half_ /= 2) {
        if (me < half_)
            space[me] = fmax(space[me], space[me + half_]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return space[0];
#endif
}
