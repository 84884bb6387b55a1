/* rows.cl - rows taken by id, put by id, and summed by id. */
#define EACH_ROW(i, rows) for (long i = get_global_id(1); i < rows; i += get_global_size(1))
#define EACH_COL(j, cols) for (long j = get_global_id(0); j < cols; j += get_global_size(0))

#ifdef GATHER
/* y[i] = factor * x[ids[i]] */
kernel void gather(IN(TX, x), IN(i32, ids), OUT(TY, y), const long rows, const long cols, const int end, const float factor, FAULTS)
{
    EACH_ROW(i, rows) {
        const int id = *ROW(ids, i);
        global TY *to = ROW(y, i);
        if (ID_GOOD(1, i, id, 0, end)) {
            const global TX *from = ROW(x, id);
            EACH_COL(j, cols) STORE(TY, to, j, factor * LOAD(TX, from, j));
        }
    }
}
#endif

#ifdef PUT
/* cache[ids[i]] = x[i] */
kernel void put(IN(TX, x), IN(i32, ids), OUT(TY, cache), const long rows, const long cols, const int end, FAULTS)
{
    EACH_ROW(i, rows) {
        const int id = *ROW(ids, i);
        const global TX *from = ROW(x, i);
        if (ID_GOOD(1, i, id, 0, end)) {
            global TY *to = ROW(cache, id);
            EACH_COL(j, cols) STORE(TY, to, j, LOAD(TX, from, j));
        }
    }
}
#endif

#ifdef SEGMENTS
/* order[r] = t, where ids[t] is the r-th in the order of id, then place: every pair is compared, a tile of ids at a time. */
kernel void rank_ids(IN(i32, ids), global int *order, const int n, const int end, local int *tile, FAULTS)
{
    const int t = get_global_id(0), me = get_local_id(0), size = get_local_size(0);
    const int id = t < n ? *ROW(ids, t) : 0;
    int rank = 0;
    if (t < n)
        ID_GOOD(1, t, id, 0, end);
    for (int first = 0; first < n; first += size) {
        barrier(CLK_LOCAL_MEM_FENCE);
        tile[me] = first + me < n ? *ROW(ids, first + me) : INT_MAX;
        barrier(CLK_LOCAL_MEM_FENCE);
        const int here = min(size, n - first);
        for (int k = 0; k < here; k++)
            rank += tile[k] < id || (tile[k] == id && first + k < t);
    }
    if (t < n)
        order[rank] = t;
}

/* A group for each place in the order; that of an id's first row sums all of them, in the order of rows. */
kernel void sum_segments(IN(TD, dy), IN(i32, ids), const global int *order, OUT(TY, y), const int n, const long cols, const int end,
                         const float factor, const int accumulate)
{
    const int p = get_group_id(0), id = *ROW(ids, order[p]);
    if (id >= 0 && id < end && (p == 0 || *ROW(ids, order[p - 1]) != id)) {
        global TY *to = ROW(y, id);
        int last = p + 1;
        while (last < n && *ROW(ids, order[last]) == id)
            last++;
        for (long j = get_local_id(0); j < cols; j += get_local_size(0)) {
            float sum = 0.0f;
            for (int q = p; q < last; q++)
                sum += LOAD(TD, ROW(dy, order[q]), j);
            sum *= factor;
            STORE(TY, to, j, accumulate ? LOAD(TY, to, j) + sum : sum);
        }
    }
}
#endif
