/* program.c - programs compiled when an op first needs them, or taken from the disk. */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

struct ocl_program {
    ocl_program *next;
    uint64_t hash;
    char *sources, *options;
    cl_program handle;
    ocl_kernel *kernels;
};

static uint64_t hash_text(uint64_t h, const char *text) /* FNV-1a */
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return (h ^ 0xff) * 0x100000001b3u;
}

static const char *source_of(const char *name, size_t n)
{
    for (const ocl_source *s = ocl_sources; s->name; s++)
        if (strlen(s->name) == n && memcmp(s->name, name, n) == 0)
            return s->text;
    return NULL;
}

/* The prelude and the named sources, as one text. */
static sail_code text_of(const char *sources, char **out, sail_err *err)
{
    const char *parts[16] = {source_of("prelude", 7)};
    size_t n = 1, bytes = 1;
    for (const char *p = sources; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        parts[n] = n < 15 ? source_of(p, strcspn(p, " ")) : NULL;
        if (!parts[n++])
            return sail_fail(err, SAIL_E_BUG, "opencl: there is no source for \"%s\"", sources);
    }
    for (size_t i = 0; i < n; i++)
        bytes += strlen(parts[i]);
    char *text = calloc(1, bytes);
    if (!text)
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the source of %s", sources);
    for (size_t i = 0; i < n; i++)
        strcat(text, parts[i]);
    *out = text;
    return SAIL_OK;
}

static sail_code build_failed(sail_device *d, cl_program p, cl_int status, const char *what, const char *options, sail_err *err)
{
    size_t n = 0;
    char *log = NULL;
    if (d->api.clGetProgramBuildInfo(p, d->facts.id, CL_PROGRAM_BUILD_LOG, 0, NULL, &n) == CL_SUCCESS && n > 1 &&
        (log = calloc(1, n + 1)) && d->api.clGetProgramBuildInfo(p, d->facts.id, CL_PROGRAM_BUILD_LOG, n, log, NULL) == CL_SUCCESS)
        sail_log(d->ctx, d->quiet ? SAIL_LOG_DEBUG : SAIL_LOG_ERROR, "opencl: the compiler's log of %s (%s) on %s:\n%s", what, options, d->facts.name, log);
    ocl_check(status, err, "kernel %s (%s) does not compile on %s, driver %s", what, options, d->facts.name, d->facts.driver);
    if (log)
        sail_fail(err, SAIL_E_DEVICE, "%s:\n%.600s", err ? err->message : "", log);
    free(log);
    return SAIL_E_DEVICE;
}

static void keep_binary(sail_device *d, cl_program p, const ocl_key *key)
{
    size_t n = 0;
    unsigned char *data = NULL;
    if (d->cache && d->api.clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof n, &n, NULL) == CL_SUCCESS && n > 0 &&
        (data = malloc(n)) && d->api.clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof data, &data, NULL) == CL_SUCCESS)
        ocl_cache_put(d, "program", key, data, n);
    free(data);
}

static cl_program from_disk(sail_device *d, const ocl_key *key, const char *options)
{
    unsigned char *data = NULL;
    size_t n = 0;
    cl_int status, loaded;
    if (!ocl_cache_get(d, "program", key, &data, &n))
        return NULL;
    const unsigned char *binary = data;
    cl_program p = d->api.clCreateProgramWithBinary(d->context, 1, &d->facts.id, &n, &binary, &loaded, &status);
    free(data);
    if (p && status == CL_SUCCESS && d->api.clBuildProgram(p, 1, &d->facts.id, options, NULL, NULL) == CL_SUCCESS)
        return p;
    if (p)
        d->api.clReleaseProgram(p);
    return NULL; /* the driver wants it no more */
}

/* Whether a program, behind the prelude, sums over groups. */
static bool reduces(const char *text)
{
    const char *after = text + strlen(source_of("prelude", 7));
    return strstr(after, "group_sum(") || strstr(after, "group_max(");
}

/* A processor adds as fast by itself. */
static bool by_subgroups(sail_device *d)
{
    return (!d->facts.cpu || d->options.variants == OCL_VARIANTS_SUBGROUPS) && ocl_subgroup_size(d) > 0;
}

static sail_code build(sail_device *d, const char *sources, const char *what, const char *options, cl_program *out, sail_err *err)
{
    char *text = NULL, all[1024], more[160] = "-cl-std=CL1.2";
    ocl_key key;
    cl_int status;
    SAIL_TRY(text_of(sources, &text, err));
    if (strstr(options, "-cl-std="))
        *more = '\0';
    else if (reduces(text) && by_subgroups(d))
        ocl_subgroup_options(d, d->subgroup_size, more, sizeof more);
    snprintf(all, sizeof all, "%s -cl-mad-enable %s %s", more, options, d->build);
    ocl_key_of(d, (const char *const[]){text, all, NULL}, &key);
    *out = from_disk(d, &key, all);
    sail_code code = SAIL_OK;
    if (!*out) {
        const char *lines = text;
        cl_program p = d->api.clCreateProgramWithSource(d->context, 1, &lines, NULL, &status);
        code = ocl_check(status, err, "the program %s", what);
        if (code == SAIL_OK && (status = d->api.clBuildProgram(p, 1, &d->facts.id, all, NULL, NULL)) != CL_SUCCESS) {
            code = build_failed(d, p, status, what, all, err);
            d->api.clReleaseProgram(p);
        } else if (code == SAIL_OK) {
            keep_binary(d, p, &key);
            *out = p;
        }
    }
    free(text);
    return code;
}

static void kernel_free(sail_device *d, ocl_kernel *k)
{
    if (k->handle)
        d->api.clReleaseKernel(k->handle);
    free(k->entry);
    free(k->variant);
    free(k);
}

static void program_free(sail_device *d, ocl_program *p)
{
    for (ocl_kernel *k = p->kernels, *next; k; k = next) {
        next = k->next;
        kernel_free(d, k);
    }
    if (p->handle)
        d->api.clReleaseProgram(p->handle);
    free(p->sources);
    free(p->options);
    free(p);
}

void ocl_programs_free(sail_device *d)
{
    for (ocl_program *p = d->programs, *next; p; p = next) {
        next = p->next;
        program_free(d, p);
    }
    d->programs = NULL;
}

static sail_code program_get(sail_device *d, const char *sources, const char *entry, const char *options, ocl_program **out,
                             sail_err *err)
{
    const uint64_t hash = hash_text(hash_text(0xcbf29ce484222325u, sources), options);
    for (ocl_program *p = d->programs; p; p = p->next)
        if (p->hash == hash && !strcmp(p->sources, sources) && !strcmp(p->options, options)) {
            *out = p;
            return SAIL_OK;
        }
    ocl_program *p = calloc(1, sizeof *p);
    if (!p || !(p->sources = strdup(sources)) || !(p->options = strdup(options))) {
        if (p)
            program_free(d, p);
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the program of %s", entry);
    }
    p->hash = hash;
    const sail_code code = build(d, sources, entry, options, &p->handle, err);
    if (code != SAIL_OK) {
        program_free(d, p);
        return code;
    }
    p->next = d->programs;
    d->programs = p;
    *out = p;
    return SAIL_OK;
}

/* "-D A=1 -D B" as "A=1 B". */
static char *variant_of(const char *options)
{
    char *text = strdup(options), *to = text;
    for (const char *p = text; text && *p;) {
        if (!strncmp(p, "-D ", 3))
            p += 3;
        else
            *to++ = *p++;
    }
    if (text)
        *to = '\0';
    return text;
}

sail_code ocl_kernel_get(sail_device *d, const char *sources, const char *entry, const char *options, ocl_kernel **out, sail_err *err)
{
    ocl_program *p;
    SAIL_TRY(program_get(d, sources, entry, options, &p, err));
    for (ocl_kernel *k = p->kernels; k; k = k->next)
        if (!strcmp(k->entry, entry)) {
            *out = k;
            return SAIL_OK;
        }
    ocl_kernel *k = calloc(1, sizeof *k);
    if (!k || !(k->entry = strdup(entry)) || !(k->variant = variant_of(options))) {
        if (k)
            kernel_free(d, k);
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for the kernel %s", entry);
    }
    cl_int status;
    cl_ulong local = 0, each = 0;
    k->handle = d->api.clCreateKernel(p->handle, entry, &status);
    k->program = p;
    sail_code code = ocl_check(status, err, "the kernel %s of %s", entry, sources);
    if (code == SAIL_OK)
        code = ocl_check(d->api.clGetKernelWorkGroupInfo(k->handle, d->facts.id, CL_KERNEL_WORK_GROUP_SIZE, sizeof k->group, &k->group,
                                                         NULL),
                         err, "the group of kernel %s", entry);
    if (code != SAIL_OK) {
        kernel_free(d, k);
        return code;
    }
    d->api.clGetKernelWorkGroupInfo(k->handle, d->facts.id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL);
    d->api.clGetKernelWorkGroupInfo(k->handle, d->facts.id, CL_KERNEL_PRIVATE_MEM_SIZE, sizeof each, &each, NULL);
    k->local = local;
    k->private_bytes = each;
    k->next = p->kernels;
    p->kernels = k;
    d->counters.kernels_created++;
    *out = k;
    return SAIL_OK;
}
