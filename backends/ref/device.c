/* device.c - memory, the queue of strict mode, and the table through which the ref backend is called.
 *
 * Strict mode makes the mistakes visible that a device with its own memory would punish: what is given only waits until
 * sync or download, and memory cannot be touched in between (PROT_NONE). New memory holds NaN in both modes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <sail/plugin.h>

#include "ref.h"

struct ref {
    bool strict;
    int64_t largest;
};

struct sail_buffer {
    unsigned char *p;
    uint64_t bytes, mapped;
    sail_buffer *next, **link; /* list of the device's */
};

typedef enum command_kind { UPLOAD, COPY, RUN, FREE } command_kind;
typedef struct command {
    command_kind kind;
    sail_buffer *to, *from;
    uint64_t to_offset, from_offset, bytes;
    void *data; /* UPLOAD: the bytes; RUN: one call */
    struct command *next;
} command;

struct sail_device {
    struct ref options;
    sail_buffer *buffers;
    command *first, **last;
    sail_counters counters;
    void *scratch[REF_SCRATCH];
    size_t room[REF_SCRATCH];
    double seconds[SAIL_OP_COUNT];
    uint64_t calls[SAIL_OP_COUNT];
};

static ref_op *const table[SAIL_OP_COUNT] = {
    [SAIL_OP_EMBED] = ref_embed,
    [SAIL_OP_EMBED_GRAD] = ref_embed_grad,
    [SAIL_OP_MATMUL] = ref_matmul,
    [SAIL_OP_BIAS_GRAD] = ref_bias_grad,
    [SAIL_OP_ADD] = ref_add,
    [SAIL_OP_SCALE] = ref_scale,
    [SAIL_OP_CAST] = ref_cast,
    [SAIL_OP_RMS_NORM] = ref_rms_norm,
    [SAIL_OP_RMS_NORM_BACK] = ref_rms_norm_back,
    [SAIL_OP_RMS_NORM_WGRAD] = ref_rms_norm_wgrad,
    [SAIL_OP_ROPE] = ref_rope,
    [SAIL_OP_ATTENTION] = ref_attention,
    [SAIL_OP_ATTENTION_BACK] = ref_attention_back,
    [SAIL_OP_GLU] = ref_glu,
    [SAIL_OP_GLU_BACK] = ref_glu_back,
    [SAIL_OP_GATHER_ROWS] = ref_gather_rows,
    [SAIL_OP_SCATTER_ROWS] = ref_scatter_rows,
    [SAIL_OP_HEAD] = ref_head,
    [SAIL_OP_HEAD_BACK] = ref_head_back,
    [SAIL_OP_DROPOUT] = ref_dropout,
    [SAIL_OP_COPY_ROWS] = ref_copy_rows,
    [SAIL_OP_SAMPLE] = ref_sample,
    [SAIL_OP_SUM_SQUARES] = ref_sum_squares,
    [SAIL_OP_CLIP] = ref_clip,
    [SAIL_OP_ADAMW] = ref_adamw,
    [SAIL_OP_RMSPROP] = ref_rmsprop,
    [SAIL_OP_SGD] = ref_sgd,
    [SAIL_OP_FILL] = ref_fill,
    [SAIL_OP_LAYER_NORM] = ref_layer_norm,
    [SAIL_OP_LAYER_NORM_BACK] = ref_layer_norm_back,
    [SAIL_OP_LAYER_NORM_WGRAD] = ref_layer_norm_wgrad,
    [SAIL_OP_ACT] = ref_act,
    [SAIL_OP_ACT_BACK] = ref_act_back,
};

sail_code ref_no_memory(sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "ref: no working memory");
}

void *ref_scratch(work *w, int slot, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count ? count : 1, size, &bytes))
        return NULL;
    if (w->room[slot] < bytes) {
        free(w->scratch[slot]);
        w->scratch[slot] = malloc(bytes);
        w->room[slot] = w->scratch[slot] ? bytes : 0;
    }
    return w->scratch[slot];
}

sail_code ref_check_ids(const work *w, int operand, int32_t least, int64_t end, sail_err *err)
{
    const view *v = &w->in[operand];
    for (int64_t i = 0; i < v->rows; i++) {
        const int32_t id = ref_id(v, i, 0);
        if (id < least || id >= end)
            return sail_fail(err, SAIL_E_ARG, "%s: operand %d holds %d in row %lld, which is not in %d..%lld",
                             sail_op_name(w->call->op), operand, id, (long long)i, least, (long long)end - 1);
    }
    return SAIL_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The view of a tensor, which must lie in its buffer. */
static sail_code resolve(const sail_call *call, const char *side, int i, const sail_tensor *t, view *v, sail_err *err)
{
    *v = (view){NULL, t->rows, t->cols, t->ld, t->dtype};
    if (!t->buffer)
        return SAIL_OK;
    if (t->rows < 0 || t->cols < 0 || t->ld < t->cols)
        return sail_fail(err, SAIL_E_SHAPE, "%s: %s %d is [%lld, %lld] with rows %lld apart", sail_op_name(call->op),
                         side, i, (long long)t->rows, (long long)t->cols, (long long)t->ld);
    if (t->rows > 0 && t->cols > 0) {
        const uint64_t elements = (uint64_t)(t->rows - 1) * (uint64_t)t->ld + (uint64_t)t->cols;
        const uint64_t bytes = sail_dtype_bytes(t->dtype, elements);
        if (bytes > t->buffer->bytes || t->offset > t->buffer->bytes - bytes)
            return sail_fail(err, SAIL_E_SHAPE, "%s: %s %d, %llu bytes at %llu, is not within its buffer of %llu",
                             sail_op_name(call->op), side, i, (unsigned long long)bytes, (unsigned long long)t->offset,
                             (unsigned long long)t->buffer->bytes);
    }
    v->p = t->buffer->p + t->offset;
    return SAIL_OK;
}

static sail_code execute(sail_device *d, const sail_call *call, sail_err *err)
{
    work w = {.call = call, .attr = &call->attr, .scratch = d->scratch, .room = d->room};
    const double start = now();
    for (int i = 0; i < call->n_in; i++)
        SAIL_TRY(resolve(call, "operand", i, &call->in[i], &w.in[i], err));
    for (int i = 0; i < call->n_out; i++)
        SAIL_TRY(resolve(call, "output", i, &call->out[i], &w.out[i], err));
    const sail_code code = table[call->op](&w, err);
    d->seconds[call->op] += now() - start;
    d->calls[call->op]++;
    return code;
}

static void protect(sail_device *d, int how)
{
    for (sail_buffer *b = d->buffers; b; b = b->next)
        mprotect(b->p, b->mapped, how);
}

static void release(sail_device *d, sail_buffer *b)
{
    if (b->next)
        b->next->link = b->link;
    *b->link = b->next;
    d->counters.bytes_now -= b->bytes;
    munmap(b->p, b->mapped);
    free(b);
}

static sail_code perform(sail_device *d, const command *c, sail_err *err)
{
    switch (c->kind) {
    case UPLOAD: memcpy(c->to->p + c->to_offset, c->data, c->bytes); break;
    case COPY: memmove(c->to->p + c->to_offset, c->from->p + c->from_offset, c->bytes); break;
    case RUN: return execute(d, c->data, err);
    case FREE: release(d, c->to); break;
    }
    return SAIL_OK;
}

/* Do all that waits. After an error the rest is dropped, except that memory is freed. */
static sail_code drain(sail_device *d, sail_err *err)
{
    sail_code code = SAIL_OK;
    for (command *c = d->first, *next; c; c = next) {
        next = c->next;
        if (code == SAIL_OK || c->kind == FREE) {
            const sail_code one = perform(d, c, code == SAIL_OK ? err : NULL);
            code = code == SAIL_OK ? one : code;
        }
        free(c->data);
        free(c);
    }
    d->first = NULL;
    d->last = &d->first;
    return code;
}

/* Now, or, in strict mode, later. size: bytes of c->data to keep a copy of. */
static sail_code give(sail_device *d, command c, const void *data, size_t size, sail_err *err)
{
    if (!d->options.strict) {
        c.data = (void *)(uintptr_t)data;
        return perform(d, &c, err);
    }
    command *kept = malloc(sizeof *kept);
    void *copy = size ? malloc(size) : NULL;
    if (!kept || (size && !copy)) {
        free(kept);
        free(copy);
        return sail_fail(err, SAIL_E_NOMEM, "ref: no memory to queue %zu bytes", size);
    }
    if (size)
        memcpy(copy, data, size);
    *kept = c;
    kept->data = copy;
    kept->next = NULL;
    *d->last = kept;
    d->last = &kept->next;
    return SAIL_OK;
}

/* ---- the table's functions ---- */

static void describe(const struct ref *o, sail_device_info *out)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    *out = (sail_device_info){.name = "plain loops, double accumulation", .vendor = "sail", .kind = "reference"};
    strcpy(out->note, o->strict ? "strict: memory is closed to the host" : "the meaning of every op; slow");
    out->memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    out->largest_allocation = o->largest > 0 ? (uint64_t)o->largest : out->memory;
    out->alignment = 64;
    out->compute_units = 1;
}

static sail_code ref_devices(sail_ctx *ctx, const void *options, sail_device_info *out, int cap, int *n, sail_err *err)
{
    static const struct ref plain = {0};
    *n = 1;
    if (cap > 0)
        describe(options ? options : &plain, out);
    return SAIL_OK;
}

static sail_code ref_open(sail_ctx *ctx, const void *options, int index, sail_device **out, sail_err *err)
{
    if (index != 0)
        return sail_fail(err, SAIL_E_ARG, "ref: there is no device %d, only device 0", index);
    sail_device *d = calloc(1, sizeof *d);
    if (!d)
        return sail_fail(err, SAIL_E_NOMEM, "ref: no memory for a device");
    if (options)
        d->options = *(const struct ref *)options;
    d->last = &d->first;
    *out = d;
    return SAIL_OK;
}

static void ref_close(sail_device *d)
{
    if (!d)
        return;
    protect(d, PROT_READ | PROT_WRITE);
    drain(d, NULL);
    while (d->buffers)
        release(d, d->buffers);
    for (int i = 0; i < REF_SCRATCH; i++)
        free(d->scratch[i]);
    free(d);
}

static void ref_info(sail_device *d, sail_device_info *out)
{
    describe(&d->options, out);
}

static sail_code ref_alloc(sail_device *d, uint64_t bytes, sail_buffer **out, sail_err *err)
{
    sail_device_info info;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    describe(&d->options, &info);
    if (bytes == 0 || bytes > info.largest_allocation)
        return sail_fail(err, bytes ? SAIL_E_NOMEM : SAIL_E_ARG, "ref: cannot allocate %llu bytes, the most is %llu",
                         (unsigned long long)bytes, (unsigned long long)info.largest_allocation);
    sail_buffer *b = calloc(1, sizeof *b);
    if (!b)
        return ref_no_memory(err);
    b->bytes = bytes;
    b->mapped = (bytes + page - 1) / page * page;
    b->p = mmap(NULL, b->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->p == MAP_FAILED) {
        const int why = errno;
        free(b);
        return sail_fail(err, SAIL_E_NOMEM, "ref: cannot allocate %llu bytes (%llu are in use): %s",
                         (unsigned long long)bytes, (unsigned long long)d->counters.bytes_now, strerror(why));
    }
    memset(b->p, 0xFF, b->mapped); /* NaN in every float type */
    if (d->options.strict)
        mprotect(b->p, b->mapped, PROT_NONE);
    b->next = d->buffers;
    b->link = &d->buffers;
    if (b->next)
        b->next->link = &b->next;
    d->buffers = b;
    d->counters.bytes_now += bytes;
    if (d->counters.bytes_now > d->counters.bytes_peak)
        d->counters.bytes_peak = d->counters.bytes_now;
    *out = b;
    return SAIL_OK;
}

static void ref_free(sail_device *d, sail_buffer *b)
{
    /* Without memory for the command the buffer lives until the device is closed. */
    if (b)
        give(d, (command){.kind = FREE, .to = b}, NULL, 0, NULL);
}

static sail_code check_range(const char *what, const sail_buffer *b, uint64_t offset, uint64_t bytes, sail_err *err)
{
    if (!b || bytes > b->bytes || offset > b->bytes - bytes)
        return sail_fail(err, SAIL_E_ARG, "ref: %s of %llu bytes at %llu, but the buffer has %llu", what,
                         (unsigned long long)bytes, (unsigned long long)offset,
                         (unsigned long long)(b ? b->bytes : 0));
    return SAIL_OK;
}

static sail_code ref_upload(sail_device *d, sail_buffer *b, uint64_t offset, const void *src, uint64_t bytes,
                            sail_err *err)
{
    SAIL_TRY(check_range("upload", b, offset, bytes, err));
    d->counters.uploads++;
    d->counters.upload_bytes += bytes;
    if (bytes == 0)
        return SAIL_OK;
    return give(d, (command){.kind = UPLOAD, .to = b, .to_offset = offset, .bytes = bytes}, src, bytes, err);
}

static sail_code ref_sync(sail_device *d, sail_err *err)
{
    d->counters.syncs++;
    if (!d->options.strict)
        return SAIL_OK;
    protect(d, PROT_READ | PROT_WRITE);
    const sail_code code = drain(d, err);
    protect(d, PROT_NONE);
    return code;
}

static sail_code ref_download(sail_device *d, sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err)
{
    SAIL_TRY(check_range("download", b, offset, bytes, err));
    SAIL_TRY(ref_sync(d, err));
    d->counters.downloads++;
    d->counters.download_bytes += bytes;
    if (d->options.strict)
        mprotect(b->p, b->mapped, PROT_READ);
    memcpy(dst, b->p + offset, bytes);
    if (d->options.strict)
        mprotect(b->p, b->mapped, PROT_NONE);
    return SAIL_OK;
}

static sail_code ref_copy(sail_device *d, sail_buffer *to, uint64_t to_offset, sail_buffer *from, uint64_t from_offset,
                          uint64_t bytes, sail_err *err)
{
    SAIL_TRY(check_range("copy to", to, to_offset, bytes, err));
    SAIL_TRY(check_range("copy from", from, from_offset, bytes, err));
    return give(d,
                (command){.kind = COPY, .to = to, .from = from, .to_offset = to_offset, .from_offset = from_offset,
                          .bytes = bytes},
                NULL, 0, err);
}

static bool ref_supports(sail_device *d, const sail_call *call)
{
    return (unsigned)call->op < SAIL_OP_COUNT && table[call->op] && sail_call_check(call, NULL) == SAIL_OK;
}

static sail_code ref_run(sail_device *d, const sail_call *calls, size_t n, sail_err *err)
{
    for (size_t i = 0; i < n; i++) {
        SAIL_TRY(sail_call_check(&calls[i], err));
        d->counters.calls++;
        SAIL_TRY(give(d, (command){.kind = RUN}, &calls[i], sizeof calls[i], err));
    }
    return SAIL_OK;
}

static void ref_counters(sail_device *d, sail_counters *out)
{
    *out = d->counters;
}

static void ref_profile(sail_device *d, double *seconds, uint64_t *calls)
{
    memcpy(seconds, d->seconds, sizeof d->seconds);
    memcpy(calls, d->calls, sizeof d->calls);
    memset(d->seconds, 0, sizeof d->seconds);
    memset(d->calls, 0, sizeof d->calls);
}

static const sail_opt opts[] = {
    SAIL_OPT_BOOL(struct ref, strict, .help = "close memory to the host and work only at a synchronisation"),
    SAIL_OPT_INT(struct ref, largest, .min = 0, .max = 9e15, .unit = "bytes",
                 .help = "largest single allocation; 0: no limit but memory"),
    {0},
};

static const sail_backend ops = {
    .size = sizeof ops,
    .devices = ref_devices,
    .open = ref_open,
    .close = ref_close,
    .info = ref_info,
    .alloc = ref_alloc,
    .free = ref_free,
    .upload = ref_upload,
    .download = ref_download,
    .copy = ref_copy,
    .supports = ref_supports,
    .run = ref_run,
    .sync = ref_sync,
    .counters = ref_counters,
    .profile = ref_profile,
};

SAIL_PLUGIN(SAIL_KIND_BACKEND, ref, "plain loops with double accumulation: what every op means", "", struct ref, opts,
            &ops, 0)
