/* tune.c - the ways of a matrix product, timed; one counts only after every element of its result was compared with the definition. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "matmul.h"

enum { A, B, Y, WANT, ROOM, FOUND, BUFFERS, ROUNDS = 7 };

typedef struct bench {
    sail_device *d;
    ocl_shape s; /* what is timed: of the class that is asked for, or smaller */
    sail_buffer *buffers[BUFFERS];
    sail_call call;
    ocl_tell *tell;
    void *user;
} bench;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Large products are timed on a part of them. */
static ocl_shape shorten(const sail_device *d, ocl_shape s)
{
    const int64_t most = d->facts.cpu ? (int64_t)1 << 29 : (int64_t)1 << 34;
    s.m = least(s.m, 4096);
    s.n = least(s.n, 4096);
    s.k = least(s.k, 4096);
    while (s.m * s.n * s.k > most && (s.m > 512 || s.n > 512)) /* multiples of 256 stay such: blocks of a quantised matrix are whole */
        *(s.m >= s.n ? &s.m : &s.n) = ((s.m >= s.n ? s.m : s.n) / 2 + 255) / 256 * 256;
    return s;
}

/* ---- operands ---- */

/* Numbers in [-1, 1), their places scattered; blocks that cannot be written from numbers get bytes that are small ones. */
static sail_code fill(bench *b, int which, const sail_tensor *t, sail_err *err)
{
    const uint64_t row = sail_dtype_bytes(t->dtype, (uint64_t)t->cols);
    float *values = malloc((size_t)t->cols * sizeof *values + 1);
    unsigned char *bytes = malloc((size_t)row + 1);
    sail_code code = values && bytes ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "opencl: no host memory for tuning");
    uint64_t state = 0x9e3779b97f4a7c15u * (uint64_t)(which + 1);
    for (int64_t i = 0; i < t->rows && code == SAIL_OK; i++) {
        for (int64_t j = 0; j < t->cols; j++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            values[j] = (float)((double)(state >> 40) / 8388608.0 - 1);
        }
        if (sail_from_f32(t->dtype, values, bytes, (size_t)t->cols, NULL) != SAIL_OK)
            for (uint64_t j = 0; j < row; j++)
                bytes[j] = (unsigned char)(0x20 + ((i * 31 + (int64_t)j * 7) % 61 & 15)); /* as a half: 0.008 to 0.12 */
        code = ocl_upload(b->d, t->buffer, row * (uint64_t)i, bytes, row, err);
    }
    free(values);
    free(bytes);
    return code;
}

static sail_code operand(bench *b, int which, sail_dtype t, int64_t rows, int64_t cols, sail_tensor *out, sail_err *err)
{
    *out = (sail_tensor){.rows = rows, .cols = cols, .ld = cols, .dtype = t};
    SAIL_TRY(ocl_alloc(b->d, sail_dtype_bytes(t, (uint64_t)(rows * cols)), &b->buffers[which], err));
    out->buffer = b->buffers[which];
    return which < Y ? fill(b, which, out, err) : SAIL_OK;
}

static const char *options_of(const bench *b, char out[160])
{
    snprintf(out, 160, "-D TA=%s -D TB=%s -D TY=%s -D TRANS_A=%d -D TRANS_B=%d", ocl_type(b->s.a), ocl_type(b->s.b), ocl_type(b->s.y), b->s.ta,
             b->s.tb);
    return out;
}

static const char *sources_of(const bench *b) { return sail_dtype_is_quantised(b->s.b) ? "quant matmul_check" : "matmul_check"; }

static sail_code set_up(bench *b, sail_err *err)
{
    const ocl_shape *s = &b->s;
    const uint64_t cells = (uint64_t)(s->m * s->n) * 4;
    char options[160];
    ocl_launch l;
    b->call = (sail_call){.op = SAIL_OP_MATMUL, .n_in = 2, .n_out = 1, .attr = {.trans_a = s->ta, .trans_b = s->tb, .scale = 1, .dtype = s->y}};
    SAIL_TRY(operand(b, A, s->a, s->ta ? s->k : s->m, s->ta ? s->m : s->k, &b->call.in[0], err));
    SAIL_TRY(operand(b, B, s->b, s->tb ? s->n : s->k, s->tb ? s->k : s->n, &b->call.in[1], err));
    SAIL_TRY(operand(b, Y, s->y, s->m, s->n, &b->call.out[0], err));
    SAIL_TRY(ocl_alloc(b->d, cells, &b->buffers[WANT], err));
    SAIL_TRY(ocl_alloc(b->d, cells, &b->buffers[ROOM], err));
    SAIL_TRY(ocl_alloc(b->d, 16, &b->buffers[FOUND], err));
    ocl_begin(&l, b->d, &b->call, err, sources_of(b), "product", "%s", options_of(b, options));
    ocl_matrix(&l, &b->call.in[0]);
    ocl_matrix(&l, &b->call.in[1]);
    ocl_matrix(&l, &b->call.out[0]);
    for (int i = WANT; i <= ROOM; i++)
        ocl_matrix(&l, &(sail_tensor){.buffer = b->buffers[i], .rows = s->m, .cols = s->n, .ld = s->n, .dtype = SAIL_F32});
    ocl_i32(&l, (int32_t)s->m);
    ocl_i32(&l, (int32_t)s->n);
    ocl_i32(&l, (int32_t)s->k);
    ocl_f32(&l, (float)(4 * sqrt((double)s->k) * 0x1p-24)); /* the conformance suite's bound: c sqrt(K) eps sum |a| |b| */
    return ocl_start_map(&l, s->m, s->n);
}

static void tear_down(bench *b)
{
    for (int i = 0; i < BUFFERS; i++)
        ocl_free(b->d, b->buffers[i]);
}

/* ---- one candidate ---- */

static sail_code agree(bench *b, int32_t found[4], sail_err *err)
{
    static const int32_t none[4];
    const double unit = b->s.y == SAIL_BF16 ? 0x1p-8 : b->s.y == SAIL_F16 ? 0x1p-11 : 0x1p-24;
    char options[160];
    ocl_launch l;
    SAIL_TRY(ocl_upload(b->d, b->buffers[FOUND], 0, none, sizeof none, err));
    ocl_begin(&l, b->d, &b->call, err, sources_of(b), "agree", "%s", options_of(b, options));
    ocl_matrix(&l, &b->call.out[0]);
    for (int i = WANT; i <= ROOM; i++)
        ocl_matrix(&l, &(sail_tensor){.buffer = b->buffers[i], .rows = b->s.m, .cols = b->s.n, .ld = b->s.n, .dtype = SAIL_F32});
    ocl_i32(&l, (int32_t)b->s.m);
    ocl_i32(&l, (int32_t)b->s.n);
    ocl_f32(&l, (float)unit);
    ocl_matrix(&l, &(sail_tensor){.buffer = b->buffers[FOUND], .rows = 1, .cols = 4, .ld = 4, .dtype = SAIL_I32});
    SAIL_TRY(ocl_start_map(&l, b->s.m, b->s.n));
    return ocl_download(b->d, b->buffers[FOUND], 0, found, 16, err);
}

/* Whether it computes rightly; else `problem` says what is wrong. */
static bool verify(bench *b, const ocl_plan *p, char *problem, size_t room)
{
    sail_err err = {0};
    int32_t found[4] = {0};
    const bool was = b->d->quiet;
    b->d->quiet = true; /* what does not compile is only left out */
    sail_code code = ocl_matmul_by(b->d, &b->call, p, &err);
    b->d->quiet = was;
    if (code == SAIL_OK)
        code = agree(b, found, &err);
    if (code != SAIL_OK)
        snprintf(problem, room, "%.200s", err.message);
    else if (found[0] > 0)
        snprintf(problem, room, "%d of %lld elements are wrong, the first found at [%d, %d]", found[0], (long long)(b->s.m * b->s.n), found[1],
                 found[2]);
    return code == SAIL_OK && found[0] == 0;
}

static double once(bench *b, const ocl_plan *p)
{
    sail_err err = {0};
    const double t = ocl_now();
    return ocl_matmul_by(b->d, &b->call, p, &err) == SAIL_OK && ocl_sync(b->d, &err) == SAIL_OK ? ocl_now() - t : 1e30;
}

/* In turns, so that whatever else the machine does slows all of them; the least time of each counts. */
static void time_all(bench *b, const ocl_plan *all, const bool *right, int n, double *seconds)
{
    double best = 1e30;
    for (int i = 0; i < n; i++)
        seconds[i] = 1e30;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < n; i++) {
            if (!right[i] || (round > 0 && seconds[i] > (round > 1 ? 1.5 : 4) * best))
                continue;
            seconds[i] = fmin(seconds[i], once(b, &all[i]));
            best = fmin(best, seconds[i]);
        }
}

static sail_code choose(bench *b, const ocl_shape *class_, ocl_plan *best, sail_err *err)
{
    ocl_plan all[OCL_CANDIDATES];
    bool right[OCL_CANDIDATES];
    char problems[OCL_CANDIDATES][256], text[128];
    double seconds[OCL_CANDIDATES];
    const double flops = 2.0 * (double)b->s.m * (double)b->s.n * (double)b->s.k;
    const int n = ocl_candidates(b->d, class_, all);
    int first = -1;
    SAIL_TRY(set_up(b, err));
    for (int i = 0; i < n; i++) {
        problems[i][0] = '\0';
        right[i] = verify(b, &all[i], problems[i], sizeof problems[i]);
        ocl_plan_text(&all[i], text, sizeof text);
        if (!right[i])
            sail_log(b->d->ctx, SAIL_LOG_WARN, "opencl: the product by %s is not used on %s: %s", text, b->d->facts.name, problems[i]);
    }
    time_all(b, all, right, n, seconds);
    for (int i = 0; i < n; i++) {
        ocl_plan_text(&all[i], text, sizeof text);
        if (b->tell)
            b->tell(b->user, text, right[i] ? seconds[i] : -1, flops, right[i] ? NULL : problems[i]);
        if (right[i] && (first < 0 || seconds[i] < 0.97 * seconds[first])) /* what comes first was thought the best */
            first = i;
    }
    if (first < 0)
        return sail_fail(err, SAIL_E_DEVICE, "opencl: no way of making a matrix product computes rightly on %s, driver %s: use another "
                         "driver, or --backend cpu", b->d->facts.name, b->d->facts.driver);
    *best = all[first];
    return SAIL_OK;
}

sail_code ocl_tune(sail_device *d, const ocl_shape *s, ocl_tell *tell, void *user, ocl_plan *best, sail_err *err)
{
    const ocl_shape class_ = ocl_class_shape(ocl_class_of(s));
    bench b = {.d = d, .s = shorten(d, *s), .tell = tell, .user = user};
    sail_code code = choose(&b, &class_, best, err);
    tear_down(&b);
    return code == SAIL_OK ? ocl_plan_keep(d, s, best, true, err) : code;
}
