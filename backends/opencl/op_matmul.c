/* op_matmul.c - MATMUL: a product made in the way that its plan says: by tiles through local memory, by panels, or line by line. A
 * block-quantised operand is read where it lies, a few values at a time. */
#include <string.h>

#include "matmul.h"

enum { BIAS = 1, RESIDUAL = 2, ACCUMULATE = 4 };
enum { SLOT_PARTS, SLOT_PANELS_A = 3, SLOT_PANELS_B };

typedef struct product {
    const sail_call *call;
    sail_tensor a, b, bias, residual, y;
    int64_t m, n, k;
    int flags;
} product;

static int64_t up(int64_t n, int64_t by) { return (n + by - 1) / by; }

static const char *types_of(const product *p, sail_dtype y, char out[128])
{
    const sail_dtype bias = p->bias.buffer ? p->bias.dtype : SAIL_F32;
    snprintf(out, 128, "-D TA=%s -D TB=%s -D TD=%s -D TY=%s", ocl_type(p->a.dtype), ocl_type(p->b.dtype), ocl_type(bias), ocl_type(y));
    return out;
}

/* For profiles: bytes of a matrix, and of all that a product reads and writes. */
static double size_of(const sail_tensor *t)
{
    return t->buffer ? (double)sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->cols)) : 0;
}

static double traffic(const product *p)
{
    return size_of(&p->a) + size_of(&p->b) + size_of(&p->bias) + size_of(&p->residual) + size_of(&p->y) * (p->call->attr.accumulate ? 2 : 1);
}

/* What the kernels that multiply take behind the operands. */
static void to_and_sizes(ocl_launch *l, const product *p, const sail_tensor *y, int64_t each)
{
    ocl_matrix(l, &p->bias);
    ocl_matrix(l, &p->residual);
    ocl_matrix(l, y);
    ocl_i32(l, (int32_t)p->m);
    ocl_i32(l, (int32_t)p->n);
    ocl_i32(l, (int32_t)p->k);
    ocl_i32(l, (int32_t)each);
}

static sail_code merge(sail_device *d, const product *p, cl_mem parts, int n_parts, int64_t ld, sail_err *err)
{
    char types[128];
    ocl_launch l;
    ocl_begin(&l, d, p->call, err, "matmul", "merge", "-D MERGE %s", types_of(p, p->y.dtype, types));
    ocl_memory(&l, parts);
    ocl_i32(&l, n_parts);
    ocl_u64(&l, (uint64_t)(p->m * ld));
    ocl_i32(&l, (int32_t)ld);
    ocl_matrix(&l, &p->bias);
    ocl_matrix(&l, &p->residual);
    ocl_matrix(&l, &p->y);
    ocl_i32(&l, (int32_t)p->m);
    ocl_i32(&l, (int32_t)p->n);
    ocl_f32(&l, p->call->attr.scale);
    ocl_i32(&l, p->flags);
    l.flops = (double)n_parts * (double)p->m * (double)p->n;
    l.bytes = 4 * l.flops + size_of(&p->bias) + size_of(&p->residual) + size_of(&p->y);
    return ocl_start_map(&l, p->m, up(p->n, 4));
}

static const char *sources_of(const product *p, const char *plain, const char *quantised)
{
    return sail_dtype_is_quantised(p->b.dtype) ? quantised : plain;
}

static sail_code tiled(sail_device *d, const product *p, const ocl_plan *plan, sail_err *err)
{
    const int *t = plan->n;
    int parts = t[PARTS];
    char types[128], dot[32] = "";
    ocl_launch l;
    sail_buffer in;
    sail_tensor y = p->y;
    const int64_t ld = up(p->n, 4) * 4, chunk = up(up(p->k, parts), t[TK]) * t[TK];
    parts = p->k > 0 ? (int)up(p->k, chunk) : 1;
    if (parts > 1) {
        in = (sail_buffer){.bytes = (uint64_t)(parts * p->m * ld) * 4};
        in.room = in.bytes;
        SAIL_TRY(ocl_scratch(d, SLOT_PARTS, in.bytes, &in.mem, err));
        y = (sail_tensor){&in, 0, p->m, p->n, ld, SAIL_F32};
    }
    const bool pairs = plan->way == OCL_PAIRS;
    if (pairs)
        snprintf(dot, sizeof dot, "-D DOT2=%d", ocl_pairs(d, p->a.dtype));
    ocl_begin(&l, d, p->call, err, pairs ? "matmul dot2 matmul_pairs" : sources_of(p, "matmul", "quant matmul"), pairs ? "paired" : "tiled",
              "%s %s -D TRANS_A=%d -D TRANS_B=%d -D TM=%d -D TN=%d -D TK=%d -D WM=%d -D WN=%d", dot, types_of(p, y.dtype, types),
              p->call->attr.trans_a, p->call->attr.trans_b, t[TM], t[TN], t[TK], t[WM], t[WN]);
    l.flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    l.bytes = parts > 1 ? size_of(&p->a) + size_of(&p->b) + 4.0 * parts * (double)p->m * (double)p->n : traffic(p);
    ocl_matrix(&l, &p->a);
    ocl_matrix(&l, &p->b);
    to_and_sizes(&l, p, &y, chunk);
    ocl_u64(&l, (uint64_t)(p->m * ld));
    ocl_f32(&l, parts > 1 ? 1 : p->call->attr.scale);
    ocl_i32(&l, parts > 1 ? 0 : p->flags);
    const size_t items = (size_t)(t[TM] / t[WM] * (t[TN] / t[WN]));
    const size_t global[2] = {(size_t)(up(p->m, t[TM]) * up(p->n, t[TN])) * items, (size_t)parts}, local[2] = {items, 1};
    SAIL_TRY(ocl_start(&l, 2, global, local));
    return parts > 1 ? merge(d, p, in.mem, parts, ld, err) : SAIL_OK;
}

/* ---- by panels ---- */

/* `lines` rows of x (along) or columns of x as panels of w lines. */
static sail_code pack(sail_device *d, const product *p, const sail_tensor *x, bool along, int64_t lines, int w, int length, int slot,
                      cl_mem *out, sail_err *err)
{
    enum { BLOCK = 64 }; /* matmul_packed.cl */
    ocl_launch l;
    SAIL_TRY(ocl_scratch(d, slot, (uint64_t)(up(lines, w) * w * p->k) * 4, out, err));
    const bool blocks = sail_dtype_is_quantised(x->dtype);
    ocl_begin(&l, d, p->call, err, blocks ? "quant matmul matmul_packed" : "matmul matmul_packed", "pack", "-D TD=f32 -D TY=f32 -D T=%s -D LENGTH=%d -D W=%d%s",
              ocl_type(x->dtype), length, w, along ? " -D ALONG" : "");
    ocl_matrix(&l, x);
    ocl_memory(&l, *out);
    ocl_i32(&l, (int32_t)lines);
    ocl_i32(&l, (int32_t)p->k);
    l.bytes = size_of(x) + 4 * (double)lines * (double)p->k;
    const size_t global[2] = {(size_t)up(p->k, BLOCK), (size_t)up(lines, w)}, local[2] = {1, 1};
    return ocl_start(&l, 2, global, local);
}

static sail_code by_panels(sail_device *d, const product *p, const ocl_plan *plan, sail_err *err)
{
    enum { BUSY = 8 }; /* items for each unit at least */
    const int length = plan->n[LENGTH], mw = plan->n[MW], nv = plan->n[NV];
    const int64_t columns = up(p->n, nv * length), rows = up(p->m, mw), wanted = up((int64_t)BUSY * d->facts.units, columns);
    const int64_t each = rows / wanted < 1 ? 1 : rows / wanted < plan->n[EACH] ? rows / wanted : plan->n[EACH];
    char types[128];
    cl_mem a, b;
    ocl_launch l;
    SAIL_TRY(pack(d, p, &p->a, !p->call->attr.trans_a, p->m, mw, length, SLOT_PANELS_A, &a, err));
    SAIL_TRY(pack(d, p, &p->b, p->call->attr.trans_b, p->n, nv * length, length, SLOT_PANELS_B, &b, err));
    types_of(p, p->y.dtype, types);
    ocl_begin(&l, d, p->call, err, "matmul matmul_packed", "packed", "%s -D LENGTH=%d -D MW=%d -D NV=%d", strstr(types, "-D TD"),
              length, mw, nv);
    l.flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    l.bytes = traffic(p) - size_of(&p->a) - size_of(&p->b) + 4 * (double)p->k * (double)(p->m + p->n);
    ocl_memory(&l, a);
    ocl_memory(&l, b);
    to_and_sizes(&l, p, &p->y, each);
    ocl_f32(&l, p->call->attr.scale);
    ocl_i32(&l, p->flags);
    const size_t global[2] = {(size_t)columns, (size_t)up(rows, each)}, local[2] = {1, 1};
    return ocl_start(&l, 2, global, local);
}

/* ---- line by line ---- */

static sail_code by_lines(sail_device *d, const product *p, const ocl_plan *plan, sail_err *err)
{
    enum { BUSY = 8, MOST = 16 }; /* groups for each unit at least; blocks of lines a group takes at most */
    const int *t = plan->n, m = p->m > 4 ? 8 : p->m > 2 ? 4 : (int)p->m;
    const bool along = p->call->attr.trans_b;
    const int64_t block = (int64_t)t[LINES_OF] * t[LANES] * (along ? 1 : t[WIDTH]), blocks = up(p->n, block), rows = up(p->m, m);
    const int64_t share = blocks * rows / ((int64_t)BUSY * d->facts.units), each = !d->facts.cpu || share < 1 ? 1 : share < MOST ? share : MOST;
    char types[128], sub[96] = "";
    ocl_launch l;
    if (t[SUB])
        ocl_subgroup_options(d, t[ITEMS], sub, sizeof sub);
    ocl_begin(&l, d, p->call, err, sources_of(p, "matmul matmul_lines", "quant matmul matmul_lines"), "lines",
              "%s %s -D M=%d -D V=%d -D NB=%d -D ITEMS=%d -D LANES=%d%s", sub, types_of(p, p->y.dtype, types), m, t[WIDTH], t[LINES_OF], t[ITEMS],
              t[LANES], along ? " -D ALONG" : "");
    l.flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    l.bytes = traffic(p);
    ocl_matrix(&l, &p->a);
    ocl_matrix(&l, &p->b);
    to_and_sizes(&l, p, &p->y, each);
    ocl_f32(&l, p->call->attr.scale);
    ocl_i32(&l, p->flags);
    const size_t items = (size_t)(t[ITEMS] * t[LANES]);
    const size_t global[2] = {(size_t)up(blocks, each) * items, (size_t)rows}, local[2] = {items, 1};
    return ocl_start(&l, 2, global, local);
}

/* ---- the op ---- */

ocl_shape ocl_shape_of(const sail_call *c)
{
    return (ocl_shape){c->in[0].dtype, c->in[1].dtype, c->out[0].dtype, c->attr.trans_a, c->attr.trans_b, c->out[0].rows, c->out[0].cols,
                       c->attr.trans_a ? c->in[0].rows : c->in[0].cols};
}

sail_code ocl_matmul_by(sail_device *d, const sail_call *c, const ocl_plan *plan, sail_err *err)
{
    const ocl_shape s = ocl_shape_of(c);
    product p = {.call = c, .a = c->in[0], .b = c->in[1], .y = c->out[0], .m = s.m, .n = s.n, .k = s.k};
    if (c->n_in > 2)
        p.bias = c->in[2];
    if (c->n_in > 3)
        p.residual = c->in[3];
    p.flags = (p.bias.buffer ? BIAS : 0) | (p.residual.buffer ? RESIDUAL : 0) | (c->attr.accumulate ? ACCUMULATE : 0);
    switch (plan->way) {
    case OCL_PANELS: return by_panels(d, &p, plan, err);
    case OCL_LINES: return by_lines(d, &p, plan, err);
    default: return tiled(d, &p, plan, err);
    }
}

sail_code ocl_matmul(sail_device *d, const sail_call *c, sail_err *err)
{
    const ocl_shape s = ocl_shape_of(c);
    ocl_plan plan;
    SAIL_TRY(ocl_plan_for(d, &s, &plan, err));
    return ocl_matmul_by(d, c, &plan, err);
}

static bool supports(const sail_device *d, const sail_call *c)
{
    const int64_t k = c->attr.trans_a ? c->in[0].rows : c->in[0].cols;
    return c->out[0].rows < INT32_MAX / 2 && c->out[0].cols < INT32_MAX / 2 && k < INT32_MAX / 2; /* kernels count in int */
}

const ocl_op ocl_matmul_ops[] = {
    {SAIL_OP_MATMUL, supports, ocl_matmul},
    {0},
};
