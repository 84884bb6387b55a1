/* op_elementwise.c - ops that treat each element by itself. */
#include "opencl.h"

static sail_code fill(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_tensor *y = &c->out[0];
    ocl_launch l;
    ocl_begin(&l, d, c, err, "elementwise", "fill", "-D FILL -D TY=%s", ocl_type(y->dtype));
    ocl_matrix(&l, y);
    ocl_i64(&l, y->rows);
    ocl_i64(&l, y->cols);
    ocl_f32(&l, c->attr.scale);
    return ocl_start_map(&l, y->rows, y->cols);
}

const ocl_op ocl_elementwise_ops[] = {
    {SAIL_OP_FILL, NULL, fill},
    {0},
};
