/* op_matmul.c - MATMUL: on a processor by panels; else tiles through local memory, with the terms in parts where there are few tiles.
 *
 * A block-quantised operand is first written out in the other operand's type. */
#include <string.h>

#include "opencl.h"

enum { BIAS = 1, RESIDUAL = 2, ACCUMULATE = 4 };
enum { SLOT_PARTS, SLOT_EXPANDED, SLOT_PANELS_A = 3, SLOT_PANELS_B };

/* A tile: a group makes tm x tn, tk terms at a time; an item wm x wn. */
typedef struct tile {
    int tm, tn, tk, wm, wn;
} tile;

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

/* b as plain rows in scratch memory, which `in` stands for. */
static sail_code expand(sail_device *d, product *p, sail_buffer *in, sail_err *err)
{
    const sail_tensor *b = &p->call->in[1];
    ocl_launch l;
    const uint64_t bytes = sail_dtype_bytes(p->a.dtype, (uint64_t)(b->rows * b->cols));
    *in = (sail_buffer){.bytes = bytes, .room = bytes};
    SAIL_TRY(ocl_scratch(d, SLOT_EXPANDED, bytes, &in->mem, err));
    ocl_begin(&l, d, p->call, err, "quant matmul", "expand", "-D EXPAND -D TA=f32 -D TB=f32 -D TD=f32 -D TX=%s -D TY=%s",
              ocl_type(b->dtype), ocl_type(p->a.dtype));
    ocl_matrix(&l, b);
    ocl_memory(&l, in->mem);
    ocl_i32(&l, (int32_t)b->rows);
    ocl_i32(&l, (int32_t)b->cols);
    p->b = (sail_tensor){in, 0, b->rows, b->cols, b->cols, p->a.dtype};
    return ocl_start_map(&l, b->rows, b->cols);
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
    return ocl_start_map(&l, p->m, up(p->n, 4));
}

static sail_code tiled(sail_device *d, const product *p, const tile *t, int parts, sail_err *err)
{
    char types[128];
    ocl_launch l;
    sail_buffer in;
    sail_tensor y = p->y;
    const int64_t ld = up(p->n, 4) * 4, chunk = up(up(p->k, parts), t->tk) * t->tk;
    parts = p->k > 0 ? (int)up(p->k, chunk) : 1;
    if (parts > 1) {
        in = (sail_buffer){.bytes = (uint64_t)(parts * p->m * ld) * 4};
        in.room = in.bytes;
        SAIL_TRY(ocl_scratch(d, SLOT_PARTS, in.bytes, &in.mem, err));
        y = (sail_tensor){&in, 0, p->m, p->n, ld, SAIL_F32};
    }
    ocl_begin(&l, d, p->call, err, "matmul", "tiled", "%s -D TRANS_A=%d -D TRANS_B=%d -D TM=%d -D TN=%d -D TK=%d -D WM=%d -D WN=%d",
              types_of(p, y.dtype, types), p->call->attr.trans_a, p->call->attr.trans_b, t->tm, t->tn, t->tk, t->wm, t->wn);
    l.flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    ocl_matrix(&l, &p->a);
    ocl_matrix(&l, &p->b);
    ocl_matrix(&l, &p->bias);
    ocl_matrix(&l, &p->residual);
    ocl_matrix(&l, &y);
    ocl_i32(&l, (int32_t)p->m);
    ocl_i32(&l, (int32_t)p->n);
    ocl_i32(&l, (int32_t)p->k);
    ocl_i32(&l, (int32_t)chunk);
    ocl_u64(&l, (uint64_t)(p->m * ld));
    ocl_f32(&l, parts > 1 ? 1 : p->call->attr.scale);
    ocl_i32(&l, parts > 1 ? 0 : p->flags);
    const size_t items = (size_t)(t->tm / t->wm * (t->tn / t->wn));
    const size_t global[2] = {(size_t)(up(p->m, t->tm) * up(p->n, t->tn)) * items, (size_t)parts}, local[2] = {items, 1};
    SAIL_TRY(ocl_start(&l, 2, global, local));
    return parts > 1 ? merge(d, p, in.mem, parts, ld, err) : SAIL_OK;
}

/* ---- by panels ---- */

/* What a processor's registers hold: mw rows of nv vectors. */
typedef struct block {
    int length, mw, nv;
} block;

static block block_of(const sail_device *d)
{
    return d->facts.vector >= 16 ? (block){16, 12, 2} : d->facts.vector >= 8 ? (block){8, 6, 2} : (block){4, 6, 2};
}

/* `lines` rows of x (along) or columns of x as panels of w lines. */
static sail_code pack(sail_device *d, const product *p, const sail_tensor *x, bool along, int64_t lines, int w, int length, int slot,
                      cl_mem *out, sail_err *err)
{
    enum { BLOCK = 64 }; /* matmul_packed.cl */
    ocl_launch l;
    SAIL_TRY(ocl_scratch(d, slot, (uint64_t)(up(lines, w) * w * p->k) * 4, out, err));
    ocl_begin(&l, d, p->call, err, "matmul matmul_packed", "pack", "-D TD=f32 -D TY=f32 -D T=%s -D LENGTH=%d -D W=%d%s",
              ocl_type(x->dtype), length, w, along ? " -D ALONG" : "");
    ocl_matrix(&l, x);
    ocl_memory(&l, *out);
    ocl_i32(&l, (int32_t)lines);
    ocl_i32(&l, (int32_t)p->k);
    const size_t global[2] = {(size_t)up(p->k, BLOCK), (size_t)up(lines, w)}, local[2] = {1, 1};
    return ocl_start(&l, 2, global, local);
}

static sail_code by_panels(sail_device *d, const product *p, sail_err *err)
{
    enum { EACH = 8, BUSY = 8 }; /* panels of rows an item takes; items for each unit at least */
    const block s = block_of(d);
    const int64_t columns = up(p->n, s.nv * s.length), rows = up(p->m, s.mw), wanted = up((int64_t)BUSY * d->facts.units, columns);
    const int64_t each = rows / wanted < 1 ? 1 : rows / wanted < EACH ? rows / wanted : EACH;
    char types[128];
    cl_mem a, b;
    ocl_launch l;
    SAIL_TRY(pack(d, p, &p->a, !p->call->attr.trans_a, p->m, s.mw, s.length, SLOT_PANELS_A, &a, err));
    SAIL_TRY(pack(d, p, &p->b, p->call->attr.trans_b, p->n, s.nv * s.length, s.length, SLOT_PANELS_B, &b, err));
    types_of(p, p->y.dtype, types);
    ocl_begin(&l, d, p->call, err, "matmul matmul_packed", "packed", "%s -D LENGTH=%d -D MW=%d -D NV=%d", strstr(types, "-D TD"),
              s.length, s.mw, s.nv);
    l.flops = 2.0 * (double)p->m * (double)p->n * (double)p->k;
    ocl_memory(&l, a);
    ocl_memory(&l, b);
    ocl_matrix(&l, &p->bias);
    ocl_matrix(&l, &p->residual);
    ocl_matrix(&l, &p->y);
    ocl_i32(&l, (int32_t)p->m);
    ocl_i32(&l, (int32_t)p->n);
    ocl_i32(&l, (int32_t)p->k);
    ocl_i32(&l, (int32_t)each);
    ocl_f32(&l, p->call->attr.scale);
    ocl_i32(&l, p->flags);
    const size_t global[2] = {(size_t)columns, (size_t)up(rows, each)}, local[2] = {1, 1};
    return ocl_start(&l, 2, global, local);
}

/* Whether panels pay: copying an operand costs as much as a few rows or columns of the product. */
static bool panels_pay(const sail_device *d, const product *p)
{
    return d->facts.cpu && p->k > 0 && p->m >= 8 && p->n >= 8;
}

/* The largest tile of which there are enough to keep the device busy; then parts of the terms. */
static tile choose(const sail_device *d, const product *p, int *parts)
{
    static const tile tiles[] = {{128, 128, 16, 8, 8}, {64, 64, 16, 4, 4}, {32, 32, 16, 4, 4}};
    const int64_t busy = 2 * d->facts.units;
    const tile *t = tiles;
    for (; t < tiles + 2; t++)
        if ((size_t)(t->tm / t->wm * (t->tn / t->wn)) <= d->facts.group && up(p->m, t->tm) * up(p->n, t->tn) >= busy)
            break;
    const int64_t have = up(p->m, t->tm) * up(p->n, t->tn), most = p->k / 256;
    *parts = have >= busy || most < 2 ? 1 : (int)(busy / have < most ? busy / have : most);
    if (*parts > 16)
        *parts = 16;
    return *t;
}

sail_code ocl_matmul(sail_device *d, const sail_call *c, sail_err *err)
{
    product p = {.call = c, .a = c->in[0], .b = c->in[1], .y = c->out[0], .m = c->out[0].rows, .n = c->out[0].cols,
                 .k = c->attr.trans_a ? c->in[0].rows : c->in[0].cols};
    sail_buffer expanded;
    int parts;
    if (c->n_in > 2)
        p.bias = c->in[2];
    if (c->n_in > 3)
        p.residual = c->in[3];
    p.flags = (p.bias.buffer ? BIAS : 0) | (p.residual.buffer ? RESIDUAL : 0) | (c->attr.accumulate ? ACCUMULATE : 0);
    if (sail_dtype_is_quantised(p.b.dtype))
        SAIL_TRY(expand(d, &p, &expanded, err));
    if (panels_pay(d, &p))
        return by_panels(d, &p, err);
    const tile t = choose(d, &p, &parts);
    return tiled(d, &p, &t, parts, err);
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
