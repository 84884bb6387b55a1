/* op_attention.c - attention over the forest and its derivative: which tiles a device gets, and the kernels' starts. */
#include "opencl.h"

/* A group of x * y items; an item has rx columns' and ry rows' share of a block (attention*.cl). */
typedef struct shape {
    int x, y, rx, ry;
} shape;

enum { FORWARD, DECODE, BACK_QUERY, BACK_KEY, KINDS };

typedef struct attention {
    const sail_attr *a;
    int64_t queries, keys, segments, ranges, tiles; /* rows */
    const sail_tensor *q, *tables;                  /* tables: segments, ranges, tiles */
    int share;
} attention;

/* Elements of a row in local memory (LD in attention_forest.cl). */
static int64_t row_room(int64_t h, int x)
{
    const int64_t quads = (h + 3) / 4, own = ((h + x - 1) / x * x + 3) / 4;
    return 4 * (quads > own ? quads : own) + 4;
}

/* Bytes of local memory of a kernel with group s. */
static int64_t local_bytes(int kind, shape s, int64_t h)
{
    const int64_t ld = row_room(h, s.x), a = (int64_t)s.y * s.ry, b = (int64_t)s.x * s.rx;
    if (kind == BACK_QUERY)
        return 4 * ((2 * a + b) * ld + a * (b + 1));
    if (kind == BACK_KEY)
        return 4 * ((2 * a + 2 * b) * ld + 2 * a * (b + 1) + 2 * b);
    return 4 * ((a + b) * ld + a * (b + 1) + a * s.x);
}

/* The first group of the list whose rows fit the device's local memory (at most 32 KiB) and whose sums fit the registers; the last
 * ones are for heads so large that nothing is fast. */
static bool shape_for(const sail_device *d, int kind, int64_t h, shape *out)
{
    static const shape lists[KINDS][12] = {
        [FORWARD] = {{8, 8, 4, 4}, {16, 8, 2, 4}, {16, 8, 2, 2}, {16, 8, 1, 2}, {16, 8, 1, 1}, {8, 8, 1, 1}, {8, 4, 1, 1}, {4, 2, 1, 1},
                     {2, 1, 1, 1}},
        [DECODE] = {{64, 1, 1, 4}, {32, 2, 1, 2}, {32, 1, 1, 4}, {16, 4, 1, 1}, {16, 2, 1, 1}, {8, 4, 1, 1}, {4, 2, 1, 1}, {2, 1, 1, 1}},
        [BACK_QUERY] = {{8, 8, 4, 4}, {16, 8, 2, 4}, {16, 8, 1, 4}, {16, 8, 2, 2}, {16, 8, 1, 2}, {16, 8, 1, 1}, {8, 8, 1, 1}, {8, 4, 1, 1},
                        {4, 2, 1, 1}, {2, 1, 1, 1}},
        [BACK_KEY] = {{16, 8, 1, 4}, {16, 8, 1, 2}, {16, 8, 1, 1}, {8, 8, 1, 1}, {8, 4, 1, 1}, {4, 2, 1, 1}, {2, 1, 1, 1}},
    };
    static const int skipped[KINDS] = {[FORWARD] = 2, [DECODE] = 1, [BACK_QUERY] = 3, [BACK_KEY] = 1}; /* where registers are few */
    const int64_t room = d->facts.local_bytes < 32768 ? (int64_t)d->facts.local_bytes : 32768;
    for (const shape *s = lists[kind] + (d->facts.few_registers ? skipped[kind] : 0); s->x; s++) {
        const int64_t sums = (h + s->x - 1) / s->x * s->ry * (kind == BACK_KEY ? 2 : 1);
        if ((size_t)(s->x * s->y) <= d->facts.group && local_bytes(kind, *s, h) <= room && (sums <= 64 || s[1].x <= 8)) {
            *out = *s;
            return true;
        }
    }
    return false;
}

static bool takes_dtype(const sail_tensor *q) { return q->dtype == SAIL_F32 || q->dtype == SAIL_BF16 || q->dtype == SAIL_F16; }

static bool takes(const sail_device *d, const sail_call *c)
{
    shape s;
    return takes_dtype(&c->in[0]) && shape_for(d, FORWARD, c->attr.head_dim, &s) && shape_for(d, DECODE, c->attr.head_dim, &s);
}

static sail_code attention_of(const sail_call *c, int q, int tables, attention *out, sail_err *err)
{
    *out = (attention){.a = &c->attr, .q = &c->in[q], .queries = c->in[q].rows, .keys = c->in[q + 1].rows, .tables = &c->in[tables],
                       .share = c->attr.heads / c->attr.kv_heads};
    out->segments = out->tables[0].rows;
    out->ranges = out->tables[1].rows;
    out->tiles = out->tables[2].rows;
    if (out->segments <= 0 || out->tiles <= 0 || out->tiles > out->queries)
        return sail_fail(err, SAIL_E_ARG, "%s: %lld tiles and %lld segments for %lld rows", sail_op_name(c->op), (long long)out->tiles,
                         (long long)out->segments, (long long)out->queries);
    if (out->queries > INT32_MAX / 2 || out->keys > INT32_MAX / 2 || out->segments > INT32_MAX / 2 || out->ranges > INT32_MAX / 2)
        return sail_fail(err, SAIL_E_ARG, "%s: %lld queries, %lld keys: tables hold 32-bit numbers", sail_op_name(c->op),
                         (long long)out->queries, (long long)out->keys);
    return SAIL_OK;
}

static void begin(ocl_launch *l, sail_device *d, const sail_call *c, sail_err *err, const attention *f, const char *sources,
                  const char *entry, shape s, const char *more)
{
    ocl_begin(l, d, c, err, sources, entry, "-D T=%s -D HD=%d -D HEADS=%d -D SHARE=%d -D TX=%d -D TY=%d -D RK=%d -D RQ=%d%s %s",
              ocl_type(f->q->dtype), (int)f->a->head_dim, (int)f->a->heads, f->share, s.x, s.y, s.rx, s.ry,
              f->a->softcap > 0 ? " -D CAP" : "", more);
}

static double element(const sail_tensor *t) { return (double)sail_dtype_block_bytes(t->dtype); }

/* Queries times the keys they see, for profiles. Only the device knows the forest: as if it were one sequence, which is too many. */
static double pairs(const attention *f)
{
    return (double)f->queries * (double)f->keys * (f->queries == f->keys ? 0.5 : 1);
}

/* Groups along the lines of a tile: it has at most 64 rows, and the other tiles have one at least. */
static size_t chunks(const attention *f, int64_t lines)
{
    const int64_t rows = f->queries - f->tiles + 1;
    return (size_t)(((rows < 64 ? rows : 64) * f->share + lines - 1) / lines);
}

static sail_code merge(sail_device *d, const sail_call *c, const attention *f, int splits, cl_mem parts, sail_err *err)
{
    ocl_launch l;
    begin(&l, d, c, err, f, "attention_forest attention", "attention_merge", (shape){1, 1, 1, 1}, "-D MERGE");
    ocl_matrix(&l, &c->out[0]);
    ocl_matrix(&l, &c->out[1]);
    ocl_i32(&l, (int32_t)f->queries);
    ocl_i32(&l, splits);
    ocl_memory(&l, parts);
    const double lines = (double)f->queries * (double)f->a->heads;
    l.flops = lines * splits * (2.0 * f->a->head_dim + 4);
    l.bytes = lines * splits * (f->a->head_dim + 2.0) * 4 + lines * f->a->head_dim * element(f->q);
    return ocl_start_map(&l, 1, f->queries * c->out[0].cols);
}

/* Parts into which each group's keys are split so that the device has enough to do: only when there are few queries. Which keys a
 * query sees is known to the device alone; a part may be empty. */
static int splits_for(const sail_device *d, const attention *f, size_t groups)
{
    enum { MOST = 32, PART = 32 }; /* keys that are worth a group */
    const size_t wanted = (size_t)(d->facts.units > 0 ? d->facts.units : 1) * 4;
    int64_t n = groups < wanted ? (int64_t)(wanted / groups) : 1;
    n = n < MOST ? n : MOST;
    n = n < f->keys / PART ? n : f->keys / PART;
    return n > 1 && f->queries <= 64 ? (int)n : 1;
}

/* ---- on processors ---- */

enum { MOST_HEAD = 512 };

/* Heads' room in attention_blocks.cl: few programs serve all sizes. */
static int room_of(int64_t head) { return head <= 64 ? 64 : head <= 128 ? 128 : head <= 256 ? 256 : MOST_HEAD; }
static bool by_blocks(const sail_device *d, int64_t head) { return d->facts.cpu && head <= MOST_HEAD; }

static void begin_blocks(ocl_launch *l, sail_device *d, const sail_call *c, sail_err *err, const attention *f, const char *entry,
                         const char *part)
{
    const int room = room_of(f->a->head_dim);
    ocl_begin(l, d, c, err, "attention_forest attention_blocks", entry,
              "-D T=%s -D HD=%d -D HEADS=1 -D SHARE=1 -D TX=1 -D TY=1 -D LENGTH=%d -D %s", ocl_type(f->q->dtype), room, d->facts.vector, part);
}

static sail_code start_blocks(ocl_launch *l, const attention *f, size_t along)
{
    const size_t global[3] = {along, (size_t)f->tiles, (size_t)f->a->kv_heads}, local[3] = {1, 1, 1};
    return ocl_start(l, 3, global, local);
}

/* Lines an item takes: LINES in attention_blocks.cl. */
static int64_t lines_of(const attention *f) { return room_of(f->a->head_dim) <= 128 ? 48 : 24; }

static sail_code forward_blocks(sail_device *d, const sail_call *c, const attention *f, sail_err *err)
{
    ocl_launch l;
    begin_blocks(&l, d, c, err, f, "attention_blocks", "FORWARD");
    for (int i = 0; i < 6; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[0]);
    ocl_matrix(&l, &c->out[1]);
    ocl_i32(&l, (int32_t)f->queries);
    ocl_i32(&l, (int32_t)f->keys);
    ocl_i32(&l, (int32_t)f->segments);
    ocl_i32(&l, (int32_t)f->ranges);
    ocl_i32(&l, f->a->head_dim);
    ocl_i32(&l, f->share);
    ocl_i32(&l, f->a->window);
    ocl_f32(&l, f->a->scale);
    ocl_f32(&l, f->a->softcap);
    ocl_faults(&l);
    l.flops = 4 * pairs(f) * (double)f->q->cols;
    l.bytes = (double)(2 * f->q->cols * f->queries + 2 * c->in[1].cols * f->keys) * element(f->q);
    return start_blocks(&l, f, chunks(f, lines_of(f)));
}

static sail_code back_blocks(sail_device *d, const sail_call *c, const attention *f, cl_mem dots, sail_err *err)
{
    ocl_launch l;
    begin_blocks(&l, d, c, err, f, "attention_dots_blocks", "BACK");
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[4]);
    ocl_i32(&l, (int32_t)f->queries);
    ocl_i32(&l, f->a->heads);
    ocl_i32(&l, f->a->head_dim);
    ocl_memory(&l, dots);
    l.flops = 2 * (double)f->queries * (double)f->q->cols;
    l.bytes = 2 * (double)f->queries * (double)f->q->cols * element(f->q);
    const size_t items = (size_t)((f->queries + 15) / 16), one = 1;
    SAIL_TRY(ocl_start(&l, 1, &items, &one));
    for (int keys = 0; keys < 2; keys++) {
        begin_blocks(&l, d, c, err, f, keys ? "attention_back_key_blocks" : "attention_back_query_blocks", "BACK");
        for (int i = 0; i < 9; i++)
            if (i != 4) /* o is in the dots */
                ocl_matrix(&l, &c->in[i]);
        ocl_matrix(&l, &c->out[keys ? 1 : 0]);
        if (keys)
            ocl_matrix(&l, &c->out[2]);
        ocl_i32(&l, (int32_t)f->queries);
        ocl_i32(&l, (int32_t)f->segments);
        ocl_i32(&l, (int32_t)f->ranges);
        ocl_i32(&l, (int32_t)f->tiles);
        ocl_i32(&l, f->a->heads);
        ocl_i32(&l, f->a->head_dim);
        ocl_i32(&l, f->share);
        ocl_i32(&l, f->a->window);
        ocl_f32(&l, f->a->scale);
        ocl_f32(&l, f->a->softcap);
        ocl_memory(&l, dots);
        ocl_faults(&l);
        l.flops = (keys ? 8 : 6) * pairs(f) * (double)f->q->cols;
        l.bytes = (double)((keys ? 2 : 3) * f->q->cols * f->queries + (keys ? 4 : 2) * c->in[2].cols * f->keys) * element(f->q);
        const int64_t most = f->queries - f->tiles + 1, block = 2 * d->facts.vector;
        SAIL_TRY(start_blocks(&l, f, keys ? (size_t)(((most < 64 ? most : 64) + block - 1) / block) : chunks(f, lines_of(f))));
    }
    return SAIL_OK;
}

/* ---- both ---- */

static sail_code forward(sail_device *d, const sail_call *c, sail_err *err)
{
    attention f;
    ocl_launch l;
    shape s;
    SAIL_TRY(attention_of(c, 0, 3, &f, err));
    if (by_blocks(d, f.a->head_dim))
        return forward_blocks(d, c, &f, err);
    const bool decode = (f.queries - f.tiles + 1) * f.share <= 8;
    if (!shape_for(d, decode ? DECODE : FORWARD, f.a->head_dim, &s))
        return sail_fail(err, SAIL_E_DTYPE, "opencl: attention: heads of %d do not fit local memory", (int)f.a->head_dim);
    const size_t along = chunks(&f, (int64_t)s.y * s.ry), groups = along * (size_t)f.tiles * (size_t)f.a->kv_heads;
    const int splits = splits_for(d, &f, groups);
    cl_mem parts = d->fault; /* not used */
    if (splits > 1)
        SAIL_TRY(ocl_scratch(d, 0, (uint64_t)splits * (uint64_t)(f.queries * f.a->heads) * (uint64_t)(f.a->head_dim + 2) * 4, &parts,
                             err));
    begin(&l, d, c, err, &f, "attention_forest attention", "attention", s, splits > 1 ? "-D FORWARD -D SPLIT" : "-D FORWARD");
    for (int i = 0; i < 6; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[0]);
    ocl_matrix(&l, &c->out[1]);
    ocl_i32(&l, (int32_t)f.queries);
    ocl_i32(&l, (int32_t)f.keys);
    ocl_i32(&l, (int32_t)f.segments);
    ocl_i32(&l, (int32_t)f.ranges);
    ocl_i32(&l, f.a->window);
    ocl_f32(&l, f.a->scale);
    ocl_f32(&l, f.a->softcap);
    ocl_i32(&l, splits);
    ocl_memory(&l, parts);
    ocl_faults(&l);
    l.flops = 4 * pairs(&f) * (double)f.q->cols;
    l.bytes = (double)(2 * f.q->cols * f.queries + 2 * c->in[1].cols * f.keys) * element(f.q);
    const size_t local[3] = {(size_t)s.x, (size_t)s.y, 1};
    const size_t global[3] = {along * local[0], (size_t)f.tiles * local[1], (size_t)f.a->kv_heads * (size_t)splits};
    SAIL_TRY(ocl_start(&l, 3, global, local));
    return splits > 1 ? merge(d, c, &f, splits, parts, err) : SAIL_OK;
}

static void common(ocl_launch *l, const attention *f, bool tiles, cl_mem dots)
{
    ocl_i32(l, (int32_t)f->queries);
    ocl_i32(l, (int32_t)f->segments);
    ocl_i32(l, (int32_t)f->ranges);
    if (tiles)
        ocl_i32(l, (int32_t)f->tiles);
    ocl_i32(l, f->a->window);
    ocl_f32(l, f->a->scale);
    ocl_f32(l, f->a->softcap);
    ocl_memory(l, dots);
    ocl_faults(l);
}

/* Queries or keys: one of the two large kernels. */
static sail_code half_of_back(sail_device *d, const sail_call *c, const attention *f, int kind, cl_mem dots, sail_err *err)
{
    const bool keys = kind == BACK_KEY;
    ocl_launch l;
    shape s;
    if (!shape_for(d, kind, f->a->head_dim, &s))
        return sail_fail(err, SAIL_E_DTYPE, "opencl: attention_back: heads of %d do not fit local memory", (int)f->a->head_dim);
    begin(&l, d, c, err, f, "attention_forest attention_back", keys ? "attention_back_key" : "attention_back_query", s,
          keys ? "-D KEY" : "-D QUERY");
    for (int i = 0; i < 9; i++)
        if (i != 4) /* o is in the dots */
            ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[keys ? 1 : 0]);
    if (keys)
        ocl_matrix(&l, &c->out[2]);
    common(&l, f, keys, dots);
    l.flops = (keys ? 8 : 6) * pairs(f) * (double)f->q->cols;
    l.bytes = (double)((keys ? 2 : 3) * f->q->cols * f->queries + (keys ? 4 : 2) * c->in[2].cols * f->keys) * element(f->q);
    const int64_t most = f->queries - f->tiles + 1, lines = (int64_t)s.y * s.ry;
    const size_t along = keys ? (size_t)(((most < 64 ? most : 64) + lines - 1) / lines) : chunks(f, lines);
    const size_t local[3] = {(size_t)s.x, (size_t)s.y, 1};
    const size_t global[3] = {along * local[0], (size_t)f->tiles * local[1], (size_t)f->a->kv_heads};
    return ocl_start(&l, 3, global, local);
}

static bool takes_back(const sail_device *d, const sail_call *c)
{
    shape s;
    return takes_dtype(&c->in[1]) && shape_for(d, BACK_QUERY, c->attr.head_dim, &s) && shape_for(d, BACK_KEY, c->attr.head_dim, &s);
}

static sail_code backward(sail_device *d, const sail_call *c, sail_err *err)
{
    attention f;
    ocl_launch l;
    cl_mem dots;
    SAIL_TRY(attention_of(c, 1, 6, &f, err));
    SAIL_TRY(ocl_scratch(d, 0, (uint64_t)(f.queries * f.a->heads) * 4, &dots, err));
    if (by_blocks(d, f.a->head_dim))
        return back_blocks(d, c, &f, dots, err);
    begin(&l, d, c, err, &f, "attention_forest attention_back", "attention_dots", (shape){1, 1, 1, 1}, "-D DOTS");
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[4]);
    ocl_i32(&l, (int32_t)f.queries);
    ocl_memory(&l, dots);
    l.flops = 2 * (double)f.queries * (double)f.q->cols;
    l.bytes = 2 * (double)f.queries * (double)f.q->cols * element(f.q);
    SAIL_TRY(ocl_start_map(&l, 1, f.queries * f.a->heads));
    SAIL_TRY(half_of_back(d, c, &f, BACK_QUERY, dots, err));
    return half_of_back(d, c, &f, BACK_KEY, dots, err);
}

const ocl_op ocl_attention_ops[] = {
    {SAIL_OP_ATTENTION, takes, forward},
    {SAIL_OP_ATTENTION_BACK, takes_back, backward},
    {0},
};
