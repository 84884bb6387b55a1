/* bench_opencl.c - float32 matrix products of the opencl backend at training shapes, beside CLBlast on the same device and the cpu
 * backend, in turns in one run: bench_opencl [--tokens LIST] [--rounds N] [--layouts nt,nn,tn] [--only NxK]
 * [--peers no]. --few ROWS: instead, products of so many rows with weights of several types, as in decoding, and the memory's speed that
 * follows.
 *
 * CLBlast is found at run time, and only here; without it its columns are left out. Medians of rounds, geometric means of ratios. */
#include <time.h>

#include "../../backends/opencl/loader.h"
#include "../unit/backend/rig.h"

enum { OURS, BLAST, CPU, PEERS, MOST_ROUNDS = 64 };

/* int CLBlastSgemm(layout, transpose of a, of b, m, n, k, alpha, a, offset, ld, b, offset, ld, beta, c, offset, ld, queue, event) */
typedef int sgemm_fn(int, int, int, size_t, size_t, size_t, float, cl_mem, size_t, size_t, cl_mem, size_t, size_t, float, cl_mem, size_t,
                     size_t, cl_command_queue *, cl_event *);

typedef struct blast {
    ocl_api api;
    cl_context context;
    cl_command_queue queue;
    sgemm_fn *sgemm; /* NULL: not there */
} blast;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* On the device that has this name. */
static void blast_open(blast *b, const char *name)
{
    sail_err err = {0};
    cl_platform_id platforms[16];
    cl_uint n_platforms = 0;
    memset(b, 0, sizeof *b);
    void *library = dlopen("libclblast.so.1", RTLD_NOW | RTLD_GLOBAL), *symbol = library ? dlsym(library, "CLBlastSgemm") : NULL;
    if (!symbol || ocl_api_open(&b->api, &err) != SAIL_OK) {
        printf("CLBlast is not here (libclblast1): our own figures alone\n");
        return;
    }
    b->api.clGetPlatformIDs(16, platforms, &n_platforms);
    for (cl_uint p = 0; p < n_platforms && !b->context; p++) {
        cl_device_id ids[16];
        cl_uint n = 0;
        if (b->api.clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, 16, ids, &n) != CL_SUCCESS)
            continue;
        for (cl_uint i = 0; i < n && i < 16 && !b->context; i++) {
            char text[256] = "";
            cl_int status;
            b->api.clGetDeviceInfo(ids[i], CL_DEVICE_NAME, sizeof text - 1, text, NULL);
            if (strcmp(text + strspn(text, " "), name) != 0)
                continue;
            b->context = b->api.clCreateContext(NULL, 1, &ids[i], NULL, NULL, &status);
            b->queue = b->context ? b->api.clCreateCommandQueue(b->context, ids[i], 0, &status) : NULL;
        }
    }
    if (b->queue)
        memcpy(&b->sgemm, &symbol, sizeof symbol);
}

typedef struct shape {
    int64_t m, n, k;
    bool ta, tb;
} shape;

static void give_up(const char *what, const char *why)
{
    printf("%s: %s\n", what, why);
    exit(1);
}

static void make(rig *r, const shape *s, const float *a, const float *b, rig_case *c, sail_call *call)
{
    *c = (rig_case){.op = SAIL_OP_MATMUL, .attr = {.dtype = SAIL_F32, .trans_a = s->ta, .trans_b = s->tb, .scale = 1}, .n_in = 2, .n_out = 1};
    c->in[0] = (operand){SAIL_F32, s->ta ? s->k : s->m, s->ta ? s->m : s->k, 0, a};
    c->in[1] = (operand){SAIL_F32, s->tb ? s->n : s->k, s->tb ? s->k : s->n, 0, b};
    c->out[0] = (operand){SAIL_F32, s->m, s->n, 0, NULL};
    if (!rig_make(r, c, call))
        give_up("operands", r->err.message);
}

static double ours(rig *r, const sail_call *call)
{
    const double t = now();
    if (r->ops->run(r->device, call, 1, &r->err) != SAIL_OK || r->ops->sync(r->device, &r->err) != SAIL_OK)
        give_up("matmul", r->err.message);
    return now() - t;
}

static cl_mem on_device(blast *b, size_t n, const float *from)
{
    cl_int status;
    cl_mem m = b->api.clCreateBuffer(b->context, CL_MEM_READ_WRITE | (from ? CL_MEM_COPY_HOST_PTR : 0), n * sizeof *from,
                                     (void *)(uintptr_t)from, &status);
    if (!m)
        give_up("CLBlast", "no memory on the device");
    return m;
}

static double theirs(blast *b, const shape *s, cl_mem const mem[3])
{
    const double t = now();
    const int status = b->sgemm(101, s->ta ? 112 : 111, s->tb ? 112 : 111, (size_t)s->m, (size_t)s->n, (size_t)s->k, 1, mem[0], 0,
                                (size_t)(s->ta ? s->m : s->k), mem[1], 0, (size_t)(s->tb ? s->k : s->n), 0, mem[2], 0, (size_t)s->n,
                                &b->queue, NULL);
    if (status != 0 || b->api.clFinish(b->queue) != CL_SUCCESS)
        give_up("CLBlast", "its product failed");
    return now() - t;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_size);
    return v[n / 2];
}

/* The largest difference of the two results, in units of the bound c sqrt(k) eps sum|a||b| with its mean for sum. */
static double disagreement(rig *r, const sail_call *call, blast *b, cl_mem c, const shape *s)
{
    const size_t n = (size_t)(s->m * s->n);
    float *mine = rig_get(r, &call->out[0]), *other = malloc(n * sizeof *other);
    double worst = 0;
    b->api.clEnqueueReadBuffer(b->queue, c, CL_TRUE, 0, n * sizeof *other, other, 0, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        worst = fmax(worst, fabs((double)mine[i] - other[i]));
    free(mine);
    free(other);
    return worst / (4 * sqrt((double)s->k) * 0x1p-24 * (double)s->k * 0.5);
}

static void one(rig *r, rig *cpu, blast *b, const shape *s, int rounds, double sums[PEERS])
{
    static double times[PEERS][MOST_ROUNDS];
    float *a = rig_random(s->m * s->k, 1, 1), *w = rig_random(s->n * s->k, 2, 1);
    rig_case c[2];
    sail_call call[2];
    cl_mem mem[3] = {NULL};
    const double flops = 2e-9 * (double)s->m * (double)s->n * (double)s->k;
    make(r, s, a, w, &c[0], &call[0]);
    if (cpu)
        make(cpu, s, a, w, &c[1], &call[1]);
    if (b->sgemm) {
        mem[0] = on_device(b, (size_t)(s->m * s->k), a);
        mem[1] = on_device(b, (size_t)(s->n * s->k), w);
        mem[2] = on_device(b, (size_t)(s->m * s->n), NULL);
    }
    for (int i = -1; i < rounds; i++) { /* the first compiles */
        const int at = i < 0 ? 0 : i;
        times[OURS][at] = ours(r, &call[0]);
        times[BLAST][at] = b->sgemm ? theirs(b, s, mem) : 0;
        times[CPU][at] = cpu ? ours(cpu, &call[1]) : 0;
    }
    const double mine = median(times[OURS], rounds), peer = median(times[BLAST], rounds), host = median(times[CPU], rounds);
    printf("%5lld x %5lld x %5lld %s  %7.1f Gflop/s", (long long)s->m, (long long)s->n, (long long)s->k,
           s->ta ? "tn" : s->tb ? "nt" : "nn", flops / mine);
    if (b->sgemm)
        printf("   CLBlast %7.1f  %5.2f x  (results differ by %.2f of the bound)", flops / peer, peer / mine,
               disagreement(r, &call[0], b, mem[2], s));
    if (cpu)
        printf("   cpu %7.1f  %.2f of it", flops / host, host / mine);
    printf("\n");
    fflush(stdout);
    sums[OURS] += log(flops / mine);
    sums[BLAST] += b->sgemm ? log(peer / mine) : 0;
    sums[CPU] += cpu ? log(host / mine) : 0;
    rig_drop(r, &c[0], &call[0]);
    if (cpu)
        rig_drop(cpu, &c[1], &call[1]);
    for (int i = 0; i < 3; i++)
        if (mem[i])
            b->api.clReleaseMemObject(mem[i]);
    free(a);
    free(w);
}

/* Weights of several types, read where they lie. */
static void few(rig *r, const char *rows, int rounds)
{
    static const int64_t widths[][2] = {{576, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
    static const sail_dtype types[] = {SAIL_F32, SAIL_BF16, SAIL_Q8_0, SAIL_Q4_1};
    for (const char *t = rows; *t; t += strcspn(t, ","), t += *t == ',')
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
            for (size_t j = 0; j < sizeof types / sizeof *types; j++) {
                const shape s = {atoll(t), widths[i][0], widths[i][1], false, true};
                float *a = rig_random(s.m * s.k, 1, 1), *w = rig_random(s.n * s.k, 2, 1);
                double times[MOST_ROUNDS];
                rig_case c;
                sail_call call;
                const sail_dtype act = types[j] == SAIL_BF16 ? SAIL_BF16 : SAIL_F32;
                c = (rig_case){.op = SAIL_OP_MATMUL, .attr = {.dtype = act, .trans_b = true, .scale = 1}, .n_in = 2, .n_out = 1,
                               .in = {{act, s.m, s.k, 0, a}, {types[j], s.n, s.k, 0, w}}, .out = {{act, s.m, s.n, 0, NULL}}};
                if (!rig_make(r, &c, &call))
                    give_up("operands", r->err.message);
                for (int k = -1; k < rounds; k++)
                    times[k < 0 ? 0 : k] = ours(r, &call);
                const double took = median(times, rounds), bytes = (double)sail_dtype_bytes(types[j], (uint64_t)(s.n * s.k));
                printf("%5lld x %5lld x %5lld %-5s %9.1f us %7.1f GB/s of weights %8.1f Gflop/s\n", (long long)s.m, (long long)s.n,
                       (long long)s.k, sail_dtype_name(types[j]), 1e6 * took, 1e-9 * bytes / took,
                       2e-9 * (double)(s.m * s.n * s.k) / took);
                rig_drop(r, &c, &call);
                free(a);
                free(w);
            }
}

int main(int argc, char **argv)
{
    static const int64_t widths[][2] = {{576, 576}, {1152, 576}, {1536, 576}, {576, 1536}, {896, 896}, {1536, 1536}};
    const char *tokens = "512,1024,2048,4096", *layouts = "nt", *few_rows = NULL, *only = NULL;
    bool peers = true;
    int rounds = 7, n = 0;
    double sums[PEERS] = {0};
    for (int i = 1; i + 1 < argc; i += 2)
        if (!strcmp(argv[i], "--tokens"))
            tokens = argv[i + 1];
        else if (!strcmp(argv[i], "--only"))
            only = argv[i + 1];
        else if (!strcmp(argv[i], "--peers"))
            peers = strcmp(argv[i + 1], "no") != 0;
        else if (!strcmp(argv[i], "--few"))
            few_rows = argv[i + 1];
        else if (!strcmp(argv[i], "--layouts"))
            layouts = argv[i + 1];
        else if (!strcmp(argv[i], "--rounds"))
            rounds = atoi(argv[i + 1]) < 1 ? 1 : atoi(argv[i + 1]) > MOST_ROUNDS ? MOST_ROUNDS : atoi(argv[i + 1]);
        else
            give_up(argv[i], "unknown; --tokens LIST, --rounds N, --layouts LIST, --only NxK, --peers no, --few LIST");
    rig r, cpu;
    blast b;
    sail_device_info info;
    if (!rig_open(&r, "opencl", NULL))
        give_up("opencl", r.err.message);
    if (few_rows) {
        few(&r, few_rows, rounds);
        rig_close(&r);
        return 0;
    }
    const bool have_cpu = peers && rig_open(&cpu, "cpu", NULL);
    r.ops->info(r.device, &info);
    printf("%s, %s, %d units; float32\n", info.name, info.note, info.compute_units);
    memset(&b, 0, sizeof b);
    if (peers)
        blast_open(&b, info.name);
    for (const char *l = layouts; *l; l += strcspn(l, ","), l += *l == ',')
        for (const char *t = tokens; *t; t += strcspn(t, ","), t += *t == ',')
            for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
                const int64_t m = atoll(t), rows = widths[i][0], cols = widths[i][1];
                char name[48];
                snprintf(name, sizeof name, "%lldx%lld", (long long)rows, (long long)cols);
                if (only && strcmp(only, name) != 0)
                    continue;
                n++;
                /* forward; the derivative of the rows; of the weights */
                const shape s = !strncmp(l, "nt", 2)   ? (shape){m, rows, cols, false, true}
                                : !strncmp(l, "nn", 2) ? (shape){m, cols, rows, false, false}
                                                       : (shape){rows, cols, m, true, false};
                one(&r, have_cpu ? &cpu : NULL, &b, &s, rounds, sums);
            }
    if (n == 0)
        give_up(only ? only : tokens, "no such shape");
    printf("geometric means of %d shapes: %.1f Gflop/s", n, exp(sums[OURS] / n));
    if (b.sgemm)
        printf(", %.2f x CLBlast", exp(sums[BLAST] / n));
    if (have_cpu)
        printf(", %.2f of the cpu backend", exp(sums[CPU] / n));
    printf("\n");
    rig_close(&r);
    if (have_cpu)
        rig_close(&cpu);
    return 0;
}
