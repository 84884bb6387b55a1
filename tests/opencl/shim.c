/* shim.c - an OpenCL loader for tests (SAIL_OPENCL_LIBRARY names it): the machine's own, with what a test asks for put in between.
 * What is not named here goes to libOpenCL.so.1, which this library depends on.
 *
 * OCLSHIM_TYPE=PART=TYPE,…   devices whose name holds PART say they are a gpu, cpu or accelerator: what GPUs are given runs anywhere
 * OCLSHIM_LACKS=platforms    the loader knows no driver; `devices`: no driver has a device
 * OCLSHIM_FAIL=CALL:K[+]:STATUS   the K-th call (from 1) of the function fails with STATUS; with +, so do all later ones of every
 *                            function that works on the device, as when it is lost
 * OCLSHIM_FROM, OCLSHIM_TO   in every program's source the first text is replaced by the second: planted faults
 * OCLSHIM_DUMP=DIR           each program built: DIR/HASH.cl, its options in HASH.options, its kernels in HASH.kernels: lines
 *                            "NAME ITEMS BYTES": of a group at most, and local memory among its arguments
 * OCLSHIM_LOG=FILE           at the end: how often each function was called, and how many programs were changed */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_1_APIS
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#define EXPORT __attribute__((visibility("default")))
/* The machine's own function of that name. */
#define REAL(name) ((__typeof__(&name))own(#name))

enum { MOST = 4096 };
enum { CREATE_BUFFER, BUILD, LAUNCH, WRITE, READ, COPY, FINISH, QUEUE, CALLS };
static const char *const names[CALLS] = {"clCreateBuffer",      "clBuildProgram",      "clEnqueueNDRangeKernel", "clEnqueueWriteBuffer",
                                         "clEnqueueReadBuffer", "clEnqueueCopyBuffer", "clFinish",               "clCreateCommandQueue"};
static atomic_long counts[CALLS], patched;
static atomic_int lost;

static struct {
    cl_program program;
    char *text, *hash;
} programs[MOST];
static struct {
    cl_kernel kernel;
    const char *hash;
    char name[96];
    size_t items, local[64]; /* local: bytes, by argument */
} kernels[MOST];
static int n_programs, n_kernels;

static void *own(const char *name)
{
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    void *f = library ? dlsym(library, name) : NULL;
    if (!f) {
        fprintf(stderr, "oclshim: libOpenCL.so.1 has no %s\n", name);
        abort();
    }
    return f;
}

/* The status with which this call must fail; CL_SUCCESS: none. */
static cl_int fault(int call)
{
    const long k = atomic_fetch_add(&counts[call], 1) + 1;
    const char *plan = getenv("OCLSHIM_FAIL");
    const size_t n = strlen(names[call]);
    if (lost)
        return lost;
    if (!plan || strncmp(plan, names[call], n) != 0 || plan[n] != ':')
        return CL_SUCCESS;
    char *end;
    const long at = strtol(plan + n + 1, &end, 10);
    const int stays = *end == '+', status = atoi(end + stays + 1);
    if (k == at && stays)
        lost = status;
    return k == at ? status : CL_SUCCESS;
}

EXPORT cl_int clGetPlatformIDs(cl_uint most, cl_platform_id *out, cl_uint *n)
{
    const char *lacks = getenv("OCLSHIM_LACKS");
    if (lacks && !strcmp(lacks, "platforms"))
        return -1001; /* CL_PLATFORM_NOT_FOUND_KHR, what loaders say */
    return REAL(clGetPlatformIDs)(most, out, n);
}

EXPORT cl_int clGetDeviceIDs(cl_platform_id p, cl_device_type type, cl_uint most, cl_device_id *out, cl_uint *n)
{
    const char *lacks = getenv("OCLSHIM_LACKS");
    return lacks && !strcmp(lacks, "devices") ? CL_DEVICE_NOT_FOUND : REAL(clGetDeviceIDs)(p, type, most, out, n);
}

static cl_device_type type_for(cl_device_id id)
{
    char name[256] = "";
    REAL(clGetDeviceInfo)(id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    for (const char *p = getenv("OCLSHIM_TYPE"); p && *p; p += strcspn(p, ","), p += *p == ',') {
        const size_t n = strcspn(p, "=,");
        char part[128];
        snprintf(part, sizeof part, "%.*s", (int)(n < 120 ? n : 120), p);
        if (p[n] == '=' && strstr(name, part))
            return p[n + 1] == 'g' ? CL_DEVICE_TYPE_GPU : p[n + 1] == 'a' ? CL_DEVICE_TYPE_ACCELERATOR : CL_DEVICE_TYPE_CPU;
    }
    return 0;
}

EXPORT cl_int clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t room, void *value, size_t *n)
{
    const cl_int status = REAL(clGetDeviceInfo)(id, what, room, value, n);
    if (what == CL_DEVICE_TYPE && status == CL_SUCCESS && value && room >= sizeof(cl_device_type) && type_for(id))
        *(cl_device_type *)value = type_for(id);
    return status;
}

EXPORT cl_mem clCreateBuffer(cl_context c, cl_mem_flags flags, size_t bytes, void *host, cl_int *status)
{
    const cl_int bad = fault(CREATE_BUFFER);
    if (bad && status)
        *status = bad;
    return bad ? NULL : REAL(clCreateBuffer)(c, flags, bytes, host, status);
}

EXPORT cl_command_queue clCreateCommandQueue(cl_context c, cl_device_id id, cl_command_queue_properties p, cl_int *status)
{
    const cl_int bad = fault(QUEUE);
    if (bad && status)
        *status = bad;
    return bad ? NULL : REAL(clCreateCommandQueue)(c, id, p, status);
}

/* All parts as one text, the fault planted. */
static char *whole(cl_uint n, const char **parts, const size_t *lengths)
{
    const char *from = getenv("OCLSHIM_FROM"), *to = getenv("OCLSHIM_TO");
    size_t bytes = 1 + (to ? strlen(to) : 0), have = 0;
    for (cl_uint i = 0; i < n; i++)
        bytes += lengths && lengths[i] ? lengths[i] : strlen(parts[i]);
    char *text = calloc(1, bytes);
    for (cl_uint i = 0; i < n && text; i++) {
        const size_t more = lengths && lengths[i] ? lengths[i] : strlen(parts[i]);
        memcpy(text + have, parts[i], more);
        have += more;
    }
    char *at = text && from && *from && to ? strstr(text, from) : NULL;
    if (at) {
        memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
        memcpy(at, to, strlen(to));
        patched++;
    }
    return text;
}

EXPORT cl_program clCreateProgramWithSource(cl_context c, cl_uint n, const char **parts, const size_t *lengths, cl_int *status)
{
    char *text = whole(n, parts, lengths);
    const char *one = text;
    if (!text) {
        *status = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    cl_program p = REAL(clCreateProgramWithSource)(c, 1, &one, NULL, status);
    if (p && n_programs < MOST && getenv("OCLSHIM_DUMP")) {
        programs[n_programs].program = p;
        programs[n_programs++].text = text;
    } else {
        free(text);
    }
    return p;
}

static void write_text(const char *hash, const char *suffix, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", getenv("OCLSHIM_DUMP"), hash, suffix);
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static void dump(cl_program p, const char *options)
{
    for (int i = n_programs - 1; i >= 0; i--) {
        if (programs[i].program != p || programs[i].hash)
            continue;
        uint64_t h = 0xcbf29ce484222325u;
        for (const char *s = programs[i].text; *s; s++)
            h = (h ^ (unsigned char)*s) * 0x100000001b3u;
        for (const char *s = options ? options : ""; *s; s++)
            h = (h ^ (unsigned char)*s) * 0x100000001b3u;
        programs[i].hash = calloc(1, 24);
        if (!programs[i].hash)
            return;
        snprintf(programs[i].hash, 24, "%016" PRIx64, h);
        write_text(programs[i].hash, "cl", programs[i].text);
        write_text(programs[i].hash, "options", options ? options : "");
        return;
    }
}

EXPORT cl_int clBuildProgram(cl_program p, cl_uint n, const cl_device_id *ids, const char *options,
                             void(CL_CALLBACK *done)(cl_program, void *), void *user)
{
    const cl_int bad = fault(BUILD);
    if (bad)
        return bad;
    dump(p, options);
    return REAL(clBuildProgram)(p, n, ids, options, done, user);
}

EXPORT cl_kernel clCreateKernel(cl_program p, const char *name, cl_int *status)
{
    cl_kernel k = REAL(clCreateKernel)(p, name, status);
    for (int i = n_programs - 1; i >= 0 && k; i--) /* the latest: a handle may be used again */
        if (programs[i].program == p && programs[i].hash && n_kernels < MOST) {
            kernels[n_kernels].kernel = k;
            kernels[n_kernels].hash = programs[i].hash;
            snprintf(kernels[n_kernels++].name, sizeof kernels[0].name, "%s", name);
            break;
        }
    return k;
}

EXPORT cl_int clSetKernelArg(cl_kernel k, cl_uint i, size_t size, const void *value)
{
    for (int j = n_kernels - 1; j >= 0 && !value; j--)
        if (kernels[j].kernel == k && i < 64) {
            kernels[j].local[i] = size > kernels[j].local[i] ? size : kernels[j].local[i];
            break;
        }
    return REAL(clSetKernelArg)(k, i, size, value);
}

EXPORT cl_int clEnqueueNDRangeKernel(cl_command_queue q, cl_kernel k, cl_uint dims, const size_t *offset, const size_t *global,
                                     const size_t *local, cl_uint n, const cl_event *before, cl_event *event)
{
    const cl_int bad = fault(LAUNCH);
    if (bad)
        return bad;
    for (int i = n_kernels - 1; i >= 0; i--)
        if (kernels[i].kernel == k) {
            size_t items = local ? 1 : 0;
            for (cl_uint j = 0; j < dims && local; j++)
                items *= local[j];
            kernels[i].items = items > kernels[i].items ? items : kernels[i].items;
            break;
        }
    return REAL(clEnqueueNDRangeKernel)(q, k, dims, offset, global, local, n, before, event);
}

EXPORT cl_int clEnqueueWriteBuffer(cl_command_queue q, cl_mem m, cl_bool wait, size_t offset, size_t bytes, const void *from, cl_uint n,
                                   const cl_event *before, cl_event *event)
{
    const cl_int bad = fault(WRITE);
    return bad ? bad : REAL(clEnqueueWriteBuffer)(q, m, wait, offset, bytes, from, n, before, event);
}

EXPORT cl_int clEnqueueReadBuffer(cl_command_queue q, cl_mem m, cl_bool wait, size_t offset, size_t bytes, void *to, cl_uint n,
                                  const cl_event *before, cl_event *event)
{
    const cl_int bad = fault(READ);
    return bad ? bad : REAL(clEnqueueReadBuffer)(q, m, wait, offset, bytes, to, n, before, event);
}

EXPORT cl_int clEnqueueCopyBuffer(cl_command_queue q, cl_mem a, cl_mem b, size_t from, size_t to, size_t bytes, cl_uint n,
                                  const cl_event *before, cl_event *event)
{
    const cl_int bad = fault(COPY);
    return bad ? bad : REAL(clEnqueueCopyBuffer)(q, a, b, from, to, bytes, n, before, event);
}

EXPORT cl_int clFinish(cl_command_queue q)
{
    const cl_int bad = fault(FINISH);
    return bad ? bad : REAL(clFinish)(q);
}

static void __attribute__((destructor)) at_end(void)
{
    FILE *f = getenv("OCLSHIM_LOG") ? fopen(getenv("OCLSHIM_LOG"), "a") : NULL;
    for (int i = 0; i < CALLS && f; i++)
        fprintf(f, "%s %ld\n", names[i], (long)counts[i]);
    if (f) {
        fprintf(f, "patched %ld\n", (long)patched);
        fclose(f);
    }
    for (int i = 0; i < n_kernels; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.kernels", getenv("OCLSHIM_DUMP"), kernels[i].hash);
        if ((f = fopen(path, "a"))) {
            size_t local = 0;
            for (int j = 0; j < 64; j++)
                local += kernels[i].local[j];
            fprintf(f, "%s %zu %zu\n", kernels[i].name, kernels[i].items, local);
            fclose(f);
        }
    }
}
