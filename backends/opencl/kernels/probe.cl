/* probe.cl - what a device is said to do besides OpenCL C 1.2, done once, so that its results can be looked at before it is used. */
#ifdef SUBGROUPS
/* Of 64 items of a group: where each is, and sums and maxima of its sub-group. */
kernel SUBGROUP_SIZE __attribute__((reqd_work_group_size(64, 1, 1))) void sub_groups(const global float *x, global float *y)
{
    const uint me = get_local_id(0);
    y[me] = sub_group_reduce_add(x[me]);
    y[64 + me] = sub_group_reduce_max(x[me]);
    y[128 + me] = (float)get_sub_group_size();
    y[192 + me] = (float)(get_sub_group_id() * get_sub_group_size() + get_sub_group_local_id());
}
#endif

#ifdef DOT2
/* y[i] = y[i] + the products of a pair of 16-bit numbers. */
kernel void pairs(const global uint *a, const global uint *b, global float *y)
{
    const size_t i = get_global_id(0);
    y[i] = dot2(a[i], b[i], y[i]);
}
#endif
