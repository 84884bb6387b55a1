/* elementwise.cl - kernels that treat each element by itself: items walk over columns (dimension 0) and rows (1). */
#define EACH_ROW(i, rows) for (long i = get_global_id(1); i < rows; i += get_global_size(1))
#define EACH_COL(j, cols) for (long j = get_global_id(0); j < cols; j += get_global_size(0))

#ifdef FILL
kernel void fill(OUT(TY, y), const long rows, const long cols, const float value)
{
    EACH_ROW(i, rows) {
        global TY *to = ROW(y, i);
        EACH_COL(j, cols) STORE(TY, to, j, value);
    }
}
#endif
