/* cpu.c - the cpu backend as a plugin: its options, device, memory and transfers. */
#include "cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sail/plugin.h"

static const char *const isa_names[] = {"auto", "plain", "avx2", "avx512", "avx512_f32", NULL};

static const sail_opt opts[] = {
    SAIL_OPT_INT(cpu_options, threads, .def = 0, .min = 0, .max = 1024, .unit = "threads",
                 .help = "threads to compute with; 0: every core this process may use"),
    SAIL_OPT_CHOICE(cpu_options, isa, .def = 0, .choices = isa_names,
                    .help = "instruction set; avx512_f32 leaves its bfloat16 instructions unused"),
    {0},
};

enum { HUGE_FROM = 4 << 20, HUGE_ALIGN = 2 << 20 };

static bool cpu_has(cpu_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    switch (isa) {
    case CPU_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case CPU_AVX512_F32:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    case CPU_AVX512:
        return cpu_has(CPU_AVX512_F32) && __builtin_cpu_supports("avx512bf16");
    default:
        return true;
    }
#else
    return isa == CPU_AUTO || isa == CPU_PLAIN;
#endif
}

static cpu_isa best_isa(void)
{
    if (cpu_has(CPU_AVX512))
        return CPU_AVX512;
    if (cpu_has(CPU_AVX512_F32))
        return CPU_AVX512_F32;
    return cpu_has(CPU_AVX2) ? CPU_AVX2 : CPU_PLAIN;
}

static sail_code choose_isa(int wanted, cpu_isa *out, sail_err *err)
{
    cpu_isa best = best_isa(), isa = wanted == CPU_AUTO ? best : (cpu_isa)wanted;
    if (isa == CPU_AVX512 && !cpu_has(isa)) /* the path takes in bfloat16 instructions only where they are */
        isa = CPU_AVX512_F32;
    if (!cpu_has(isa))
        return sail_fail(err, SAIL_E_OPTION, "cpu: isa: %s is not there on this machine; it has %s", isa_names[wanted],
                         isa_names[best]);
    *out = isa;
    return SAIL_OK;
}

static const cpu_kernels *kernels_of(cpu_isa isa)
{
#if defined(__x86_64__)
    if (isa == CPU_AVX512)
        return &cpu_kernels_avx512_bf16;
    if (isa == CPU_AVX512_F32)
        return &cpu_kernels_avx512;
    if (isa == CPU_AVX2)
        return &cpu_kernels_avx2;
#endif
    return &cpu_kernels_plain;
}

static void describe(sail_device_info *out, const char *path, int threads)
{
    memset(out, 0, sizeof *out);
    snprintf(out->kind, sizeof out->kind, "cpu");
    snprintf(out->name, sizeof out->name, "processor");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon || colon[1] == '\0')
            continue;
        colon[strcspn(colon, "\n")] = '\0';
        if (strncmp(line, "model name", 10) == 0)
            snprintf(out->name, sizeof out->name, "%.100s", colon + 2);
        if (strncmp(line, "vendor_id", 9) == 0)
            snprintf(out->vendor, sizeof out->vendor, "%.50s", colon + 2);
    }
    if (f)
        fclose(f);
    snprintf(out->driver, sizeof out->driver, "%s", path);
    snprintf(out->note, sizeof out->note, "%s path, %d thread%s", path, threads, threads == 1 ? "" : "s");
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
    out->memory = out->largest_allocation = page * pages;
    out->alignment = CPU_ALIGN;
    out->compute_units = threads;
}

static int cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static sail_code devices(sail_ctx *ctx, const void *options, sail_device_info *out, int cap, int *n, sail_err *err)
{
    const cpu_options *o = options;
    cpu_isa isa = CPU_PLAIN;
    SAIL_TRY(choose_isa(o ? o->isa : CPU_AUTO, &isa, err));
    *n = 1;
    if (cap >= 1)
        describe(&out[0], kernels_of(isa)->name, o && o->threads ? (int)o->threads : cores());
    return SAIL_OK;
}

static void device_free(sail_device *d)
{
    if (!d)
        return;
    sail_pool_free(d->pool);
    cpu_dnnl_free(d->dnnl);
    free(d->shared);
    free(d->each);
    free(d);
}

static sail_code device_open(sail_ctx *ctx, const void *options, int index, sail_device **out, sail_err *err)
{
    const cpu_options *o = options;
    cpu_isa isa = CPU_PLAIN;
    if (index != 0)
        return sail_fail(err, SAIL_E_ARG, "cpu: device %d: there is only device 0", index);
    SAIL_TRY(choose_isa(o ? o->isa : CPU_AUTO, &isa, err));
    sail_device *d = calloc(1, sizeof *d);
    if (!d)
        return sail_fail(err, SAIL_E_NOMEM, "cpu: device");
    d->ctx = ctx;
    d->kernels = kernels_of(isa);
    d->pool = sail_pool_new(o ? (int)o->threads : 0, cpu_thread_init, NULL);
    if (!d->pool) {
        free(d);
        return sail_fail(err, SAIL_E_DEVICE, "cpu: %d threads cannot be started", o ? (int)o->threads : 0);
    }
    d->threads = sail_pool_threads(d->pool);
    sail_code code = isa == CPU_PLAIN ? SAIL_OK : cpu_dnnl_new(d, isa, &d->dnnl, err);
    if (code != SAIL_OK) {
        device_free(d);
        return code;
    }
    *out = d;
    return SAIL_OK;
}

static void device_info(sail_device *d, sail_device_info *out) { describe(out, d->kernels->name, d->threads); }

static sail_code buffer_alloc(sail_device *d, uint64_t bytes, sail_buffer **out, sail_err *err)
{
    sail_buffer *b = calloc(1, sizeof *b);
    uint64_t room = (bytes + CPU_ALIGN - 1) / CPU_ALIGN * CPU_ALIGN;
    if (b && room >= bytes && room <= PTRDIFF_MAX) {
        b->bytes = room;
        if (room >= HUGE_FROM) { /* whole huge pages, so that a large matrix needs few entries of the page table's cache */
            b->bytes = (room + HUGE_ALIGN - 1) / HUGE_ALIGN * HUGE_ALIGN;
            b->data = aligned_alloc(HUGE_ALIGN, b->bytes);
            if (b->data)
                madvise(b->data, b->bytes, MADV_HUGEPAGE);
        } else
            b->data = aligned_alloc(CPU_ALIGN, room);
    }
    if (!b || !b->data) {
        free(b);
        return sail_fail(err, SAIL_E_NOMEM, "cpu: %llu bytes beside the %llu that are in use", (unsigned long long)bytes,
                         (unsigned long long)d->counters.bytes_now);
    }
    d->counters.bytes_now += b->bytes;
    if (d->counters.bytes_now > d->counters.bytes_peak)
        d->counters.bytes_peak = d->counters.bytes_now;
    *out = b;
    return SAIL_OK;
}

static void buffer_free(sail_device *d, sail_buffer *b)
{
    if (!b)
        return;
    d->counters.bytes_now -= b->bytes;
    free(b->data);
    free(b);
}

static sail_code inside(const sail_buffer *b, uint64_t offset, uint64_t bytes, const char *what, sail_err *err)
{
    if (offset > b->bytes || bytes > b->bytes - offset)
        return sail_fail(err, SAIL_E_ARG, "cpu: %s of %llu bytes at %llu leaves a buffer of %llu", what,
                         (unsigned long long)bytes, (unsigned long long)offset, (unsigned long long)b->bytes);
    return SAIL_OK;
}

static sail_code upload(sail_device *d, sail_buffer *b, uint64_t offset, const void *src, uint64_t bytes, sail_err *err)
{
    SAIL_TRY(inside(b, offset, bytes, "upload", err));
    if (bytes)
        memcpy(b->data + offset, src, bytes);
    d->counters.uploads++;
    d->counters.upload_bytes += bytes;
    return SAIL_OK;
}

static sail_code download(sail_device *d, sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err)
{
    SAIL_TRY(inside(b, offset, bytes, "download", err));
    if (bytes)
        memcpy(dst, b->data + offset, bytes);
    d->counters.downloads++;
    d->counters.download_bytes += bytes;
    return SAIL_OK;
}

struct copy {
    unsigned char *to;
    const unsigned char *from;
};
static void copy_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct copy *c = arg;
    memcpy(c->to + b->col, c->from + b->col, (size_t)b->cols);
}

static sail_code copy(sail_device *d, sail_buffer *to, uint64_t to_offset, sail_buffer *from, uint64_t from_offset,
                      uint64_t bytes, sail_err *err)
{
    SAIL_TRY(inside(to, to_offset, bytes, "copy to", err));
    SAIL_TRY(inside(from, from_offset, bytes, "copy from", err));
    struct copy c = {to->data + to_offset, from->data + from_offset};
    if (to == from)
        memmove(c.to, c.from, bytes);
    else
        cpu_blocks(d, 1, (int64_t)bytes, 1 << 18, false, copy_block, &c);
    return SAIL_OK;
}

static sail_code sync_device(sail_device *d, sail_err *err)
{
    d->counters.syncs++;
    return SAIL_OK;
}

static void counters(sail_device *d, sail_counters *out) { *out = d->counters; }

static void profile(sail_device *d, double *seconds, uint64_t *calls)
{
    memcpy(seconds, d->seconds, sizeof d->seconds);
    memcpy(calls, d->calls, sizeof d->calls);
    memset(d->seconds, 0, sizeof d->seconds);
    memset(d->calls, 0, sizeof d->calls);
}

static const sail_backend ops = {
    .size = sizeof ops,
    .devices = devices,
    .open = device_open,
    .close = device_free,
    .info = device_info,
    .alloc = buffer_alloc,
    .free = buffer_free,
    .upload = upload,
    .download = download,
    .copy = copy,
    .supports = cpu_supports,
    .run = cpu_run,
    .sync = sync_device,
    .counters = counters,
    .profile = profile,
};

SAIL_PLUGIN(SAIL_KIND_BACKEND, cpu, "this machine's processor: oneDNN and kernels for AVX-512, AVX2 and plain C", "",
            cpu_options, opts, &ops, 0)
