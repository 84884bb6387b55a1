/* count.c - a backend that computes nothing and counts: flops and bytes of every call, for floors of models that fit nowhere here.
 *
 * Downloads are zeros. SAIL_COUNT_FILE gets a line "OP FLOPS BYTES CALLS" for each kind of call when the device is closed. Bytes: each
 * operand read once, each result written once, of a table of embeddings the rows that are used. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/ops.h"
#include "sail/backend.h"
#include "sail/plugin.h"

enum { MOST = 4096 };

enum { KEPT = 16 << 20 }; /* bytes: buffers that are larger keep no contents */

struct sail_buffer {
    uint64_t bytes;
    unsigned char *data; /* what was uploaded (the forest's tables are among it), NULL: nothing that is kept */
};

struct sail_device {
    struct line {
        sail_op op;
        double flops, bytes;
        uint64_t calls;
    } lines[MOST];
    int n;
    sail_counters counters;
};

static void describe(sail_device_info *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "nothing");
    snprintf(out->kind, sizeof out->kind, "count");
    out->memory = out->largest_allocation = UINT64_C(1) << 44;
    out->alignment = 64;
}

static sail_code devices(sail_ctx *ctx, const void *options, sail_device_info *out, int cap, int *n, sail_err *err)
{
    *n = 1;
    if (cap > 0)
        describe(out);
    return SAIL_OK;
}

static sail_code open_device(sail_ctx *ctx, const void *options, int index, sail_device **out, sail_err *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "no memory");
}

static void close_device(sail_device *d)
{
    FILE *f = d && getenv("SAIL_COUNT_FILE") ? fopen(getenv("SAIL_COUNT_FILE"), "w") : NULL;
    for (int i = 0; f && i < d->n; i++)
        fprintf(f, "%s %.17g %.17g %llu\n", sail_op_name(d->lines[i].op), d->lines[i].flops, d->lines[i].bytes,
                (unsigned long long)d->lines[i].calls);
    if (f)
        fprintf(f, "host %.17g %.17g 1\n", (double)d->counters.upload_bytes, (double)d->counters.download_bytes);
    if (f)
        fclose(f);
    free(d);
}

static void info(sail_device *d, sail_device_info *out) { describe(out); }

static sail_code alloc_buffer(sail_device *d, uint64_t bytes, sail_buffer **out, sail_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return sail_fail(err, SAIL_E_NOMEM, "no memory");
    (*out)->bytes = bytes;
    d->counters.bytes_now += bytes;
    d->counters.bytes_peak = d->counters.bytes_now > d->counters.bytes_peak ? d->counters.bytes_now : d->counters.bytes_peak;
    return SAIL_OK;
}

static void free_buffer(sail_device *d, sail_buffer *b)
{
    if (b)
        d->counters.bytes_now -= b->bytes;
    if (b)
        free(b->data);
    free(b);
}

static sail_code upload(sail_device *d, sail_buffer *b, uint64_t offset, const void *src, uint64_t bytes, sail_err *err)
{
    d->counters.upload_bytes += bytes;
    if (b->bytes <= KEPT && !b->data)
        b->data = calloc(1, b->bytes);
    if (b->data)
        memcpy(b->data + offset, src, bytes);
    return SAIL_OK;
}

static sail_code download(sail_device *d, sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err)
{
    memset(dst, 0, bytes);
    d->counters.download_bytes += bytes;
    return SAIL_OK;
}

static sail_code copy(sail_device *d, sail_buffer *to, uint64_t to_offset, sail_buffer *from, uint64_t from_offset, uint64_t bytes,
                      sail_err *err)
{
    return SAIL_OK;
}

static bool supports(sail_device *d, const sail_call *call) { return true; }

static double bytes_of(const sail_tensor *t)
{
    return t->buffer ? (double)sail_dtype_bytes(t->dtype, (uint64_t)(t->rows * t->cols)) : 0;
}

static const int32_t *row_of(const sail_tensor *t, int64_t i)
{
    return (const int32_t *)(const void *)(t->buffer->data + t->offset) + i * t->ld;
}

/* Pairs of a query and a key that it sees, by the tables (sail/graph.h); 0: they are not known. */
static double pairs_of(const sail_tensor *segments, const sail_tensor *ranges, const sail_tensor *tiles)
{
    double pairs = 0;
    if (!segments->buffer->data || !ranges->buffer->data || !tiles->buffer->data)
        return 0;
    for (int64_t i = 0; i < tiles->rows; i++) {
        const int32_t *tile = row_of(tiles, i), *s = row_of(segments, tile[0]);
        for (int32_t r = s[5]; r < s[5] + s[6]; r++)
            for (int32_t q = 0; q < tile[2]; q++) {
                const int64_t seen = (int64_t)tile[3] + q - row_of(ranges, r)[2] + 1, all = row_of(ranges, r)[1];
                pairs += (double)(seen < 0 ? 0 : seen < all ? seen : all);
            }
    }
    return pairs;
}

static sail_code run(sail_device *d, const sail_call *calls, size_t n, sail_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const sail_call *c = &calls[i];
        sail_shape in[SAIL_MAX_INPUTS] = {{0}}, out[SAIL_MAX_OUTPUTS] = {{0}};
        struct line l = {.op = c->op, .calls = 1};
        for (int k = 0; k < c->n_in; k++) {
            in[k] = (sail_shape){c->in[k].buffer != NULL, c->in[k].dtype, c->in[k].rows, c->in[k].cols};
            if (!(c->op == SAIL_OP_EMBED && k == 0))
                l.bytes += bytes_of(&c->in[k]);
        }
        for (int k = 0; k < c->n_out; k++) {
            out[k] = (sail_shape){c->out[k].buffer != NULL, c->out[k].dtype, c->out[k].rows, c->out[k].cols};
            l.bytes += bytes_of(&c->out[k]) * (c->op == SAIL_OP_EMBED ? 2 : 1);
        }
        l.flops = sail__op_flops(c->op, &c->attr, in, out);
        if (c->op == SAIL_OP_ATTENTION || c->op == SAIL_OP_ATTENTION_BACK) {
            const int q = c->op == SAIL_OP_ATTENTION ? 0 : 1, tables = c->op == SAIL_OP_ATTENTION ? 3 : 6;
            const double pairs = pairs_of(&c->in[tables], &c->in[tables + 1], &c->in[tables + 2]);
            if (pairs > 0)
                l.flops = sail__attention_flops(c->op, pairs, c->in[q].cols);
        }
        int k = 0;
        while (k < d->n && !(d->lines[k].op == l.op && d->lines[k].flops == l.flops && d->lines[k].bytes == l.bytes))
            k++;
        if (k == d->n && k == MOST)
            return sail_fail(err, SAIL_E_BUG, "more than %d kinds of calls", MOST);
        if (k == d->n)
            d->lines[d->n++] = l;
        else
            d->lines[k].calls++;
    }
    return SAIL_OK;
}

static sail_code sync_device(sail_device *d, sail_err *err) { return SAIL_OK; }
static void counters(sail_device *d, sail_counters *out) { *out = d->counters; }

struct count_options {
    int64_t unused;
};

static const sail_backend ops = {
    .size = sizeof ops, .devices = devices, .open = open_device, .close = close_device, .info = info, .alloc = alloc_buffer,
    .free = free_buffer, .upload = upload, .download = download, .copy = copy, .supports = supports, .run = run, .sync = sync_device,
    .counters = counters,
};

static const sail_opt opts[] = {{0}};

SAIL_PLUGIN(SAIL_KIND_BACKEND, count, "counts flops and bytes, computes nothing", "", struct count_options, opts, &ops, 0)
