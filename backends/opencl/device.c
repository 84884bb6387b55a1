/* device.c - platforms and devices, what each can do, and the order in which sail prefers them. */
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

bool ocl_has(const ocl_facts *f, const char *extension)
{
    const size_t n = strlen(extension);
    for (const char *p = f->extensions; p && (p = strstr(p, extension)); p += n)
        if ((p == f->extensions || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

static void text(const ocl_api *api, cl_device_id id, cl_device_info what, char *out, size_t room)
{
    size_t n = 0;
    char *all = NULL;
    *out = '\0';
    if (api->clGetDeviceInfo(id, what, 0, NULL, &n) == CL_SUCCESS && n && (all = calloc(1, n + 1)) &&
        api->clGetDeviceInfo(id, what, n, all, NULL) == CL_SUCCESS)
        snprintf(out, room, "%s", all + strspn(all, " "));
    free(all);
    for (size_t k = strlen(out); k > 0 && out[k - 1] == ' ';)
        out[--k] = '\0';
}

static uint64_t number(const ocl_api *api, cl_device_id id, cl_device_info what, size_t size)
{
    uint64_t v = 0; /* little-endian, as every device this runs on */
    return api->clGetDeviceInfo(id, what, size, &v, NULL) == CL_SUCCESS ? v : 0;
}

static void learn(const ocl_api *api, ocl_facts *f)
{
    size_t n = 0;
    text(api, f->id, CL_DEVICE_NAME, f->name, sizeof f->name);
    text(api, f->id, CL_DEVICE_VENDOR, f->vendor, sizeof f->vendor);
    text(api, f->id, CL_DRIVER_VERSION, f->driver, sizeof f->driver);
    text(api, f->id, CL_DEVICE_VERSION, f->version, sizeof f->version);
    text(api, f->id, CL_DEVICE_OPENCL_C_VERSION, f->c_version, sizeof f->c_version);
    api->clGetPlatformInfo(f->platform, CL_PLATFORM_NAME, sizeof f->platform_name, f->platform_name, NULL);
    api->clGetPlatformInfo(f->platform, CL_PLATFORM_VERSION, sizeof f->platform_version, f->platform_version, NULL);
    if (api->clGetDeviceInfo(f->id, CL_DEVICE_EXTENSIONS, 0, NULL, &n) == CL_SUCCESS && n &&
        (f->extensions = calloc(1, n + 1)))
        api->clGetDeviceInfo(f->id, CL_DEVICE_EXTENSIONS, n, f->extensions, NULL);
    const uint64_t type = number(api, f->id, CL_DEVICE_TYPE, sizeof(cl_device_type));
    f->gpu = type & CL_DEVICE_TYPE_GPU;
    f->cpu = !f->gpu && (type & CL_DEVICE_TYPE_CPU);
    f->memory = number(api, f->id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong));
    f->largest = number(api, f->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong));
    f->local_bytes = number(api, f->id, CL_DEVICE_LOCAL_MEM_SIZE, sizeof(cl_ulong));
    f->group = (size_t)number(api, f->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(size_t));
    f->units = (int)number(api, f->id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint));
    const uint64_t floats = number(api, f->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof(cl_uint));
    f->vector = floats >= 16 ? 16 : floats >= 8 ? 8 : 4;
    f->unified = number(api, f->id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(cl_bool)) != 0;
    f->few_registers = f->gpu && f->unified && strstr(f->vendor, "Intel");
    f->fp64 = number(api, f->id, CL_DEVICE_DOUBLE_FP_CONFIG, sizeof(cl_device_fp_config)) != 0;
    f->fp16 = ocl_has(f, "cl_khr_fp16");
    const uint64_t bits = number(api, f->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint));
    f->alignment = bits / 8 > 256 ? (uint32_t)(bits / 8) : 256;
    sscanf(f->c_version, "OpenCL C %d.%d", &f->major, &f->minor);
    if (f->major * 10 + f->minor < 12)
        snprintf(f->why, sizeof f->why, "it has %s, sail needs OpenCL C 1.2", *f->c_version ? f->c_version : "no compiler");
    else if (!number(api, f->id, CL_DEVICE_AVAILABLE, sizeof(cl_bool)))
        snprintf(f->why, sizeof f->why, "its driver says that it is not available");
    else if (!number(api, f->id, CL_DEVICE_COMPILER_AVAILABLE, sizeof(cl_bool)))
        snprintf(f->why, sizeof f->why, "its driver has no compiler");
    else if (!number(api, f->id, CL_DEVICE_ENDIAN_LITTLE, sizeof(cl_bool)))
        snprintf(f->why, sizeof f->why, "it is big-endian");
    else if (f->local_bytes < (16 << 10) || f->group < 64)
        snprintf(f->why, sizeof f->why, "groups of %zu with %llu bytes of local memory are too small", f->group,
                 (unsigned long long)f->local_bytes);
    else
        f->usable = true;
}

/* Less is better. A driver of the maker's own comes before Mesa's for the same chip. */
static int rank(const ocl_facts *f)
{
    const bool mesa = strstr(f->platform_name, "rusticl") || strstr(f->platform_name, "Clover");
    return (f->usable ? 0 : 100) + (f->gpu ? 0 : f->cpu ? 20 : 10) + (f->gpu && f->unified ? 4 : 0) + (mesa ? 2 : 0);
}

static int by_rank(const void *a, const void *b)
{
    const ocl_facts *x = a, *y = b;
    const int order = rank(x) - rank(y);
    return order ? order : x->units != y->units && rank(x) < 10 ? y->units - x->units : 0;
}

void ocl_list_free(ocl_facts *list, int n)
{
    for (int i = 0; i < n; i++)
        free(list[i].extensions);
    free(list);
}

static void sort(ocl_facts *list, int n) /* stable: what is equal stays in the loader's order */
{
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && by_rank(&list[k], &list[k - 1]) < 0; k--) {
            const ocl_facts t = list[k];
            list[k] = list[k - 1];
            list[k - 1] = t;
        }
}

sail_code ocl_list(const ocl_api *api, ocl_facts **out, int *n, sail_err *err)
{
    enum { PLATFORMS = 32, DEVICES = 64 };
    cl_platform_id platforms[PLATFORMS];
    cl_uint n_platforms = 0;
    *out = NULL;
    *n = 0;
    const cl_int status = api->clGetPlatformIDs(PLATFORMS, platforms, &n_platforms);
    if (status != CL_SUCCESS || n_platforms == 0)
        return sail_fail(err, SAIL_E_NOTFOUND, "opencl: the loader knows no driver (%s): install your device's, such as "
                         "intel-opencl-icd, mesa-opencl-icd, AMD's rocm-opencl-runtime, or pocl-opencl-icd for the processor",
                         ocl_status_name(status));
    n_platforms = n_platforms < PLATFORMS ? n_platforms : PLATFORMS;
    ocl_facts *list = NULL;
    for (cl_uint p = 0; p < n_platforms; p++) {
        cl_device_id ids[DEVICES];
        cl_uint count = 0;
        if (api->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, DEVICES, ids, &count) != CL_SUCCESS)
            continue; /* most often: none */
        count = count < DEVICES ? count : DEVICES;
        ocl_facts *more = count ? realloc(list, ((size_t)*n + count) * sizeof *list) : list;
        if (count && !more) {
            ocl_list_free(list, *n);
            *n = 0;
            return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for a list of devices");
        }
        list = more;
        for (cl_uint i = 0; i < count; i++) {
            ocl_facts *f = &list[(*n)++];
            memset(f, 0, sizeof *f);
            f->platform = platforms[p];
            f->id = ids[i];
            learn(api, f);
        }
    }
    if (*n == 0) {
        char names[512] = "";
        for (cl_uint p = 0; p < n_platforms; p++) {
            char name[96] = "";
            api->clGetPlatformInfo(platforms[p], CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", p ? ", " : "", name);
        }
        return sail_fail(err, SAIL_E_NOTFOUND, "opencl: no driver has a device (asked: %s); is this user in the groups render "
                         "and video?", names);
    }
    sort(list, *n);
    *out = list;
    return SAIL_OK;
}

void ocl_describe(const ocl_facts *f, const ocl_options *o, sail_device_info *out)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", f->name);
    snprintf(out->vendor, sizeof out->vendor, "%s", f->vendor);
    snprintf(out->driver, sizeof out->driver, "%s", f->driver);
    snprintf(out->kind, sizeof out->kind, "%s", f->gpu ? "gpu" : f->cpu ? "cpu" : "accelerator");
    if (!f->usable)
        snprintf(out->note, sizeof out->note, "%.60s; cannot be used: %.110s", f->platform_name, f->why);
    else
        snprintf(out->note, sizeof out->note, "%.50s, %.30s; groups of %zu, %llu KiB local%s%s%s", f->platform_name, f->c_version,
                 f->group, (unsigned long long)(f->local_bytes >> 10), f->fp64 ? ", fp64" : "", f->fp16 ? ", fp16" : "",
                 ocl_has(f, "cl_khr_subgroups") || ocl_has(f, "cl_intel_subgroups") ? ", subgroups" : "");
    out->memory = f->usable ? f->memory : 0;
    if (o && o->memory > 0 && (uint64_t)o->memory < out->memory)
        out->memory = (uint64_t)o->memory;
    out->largest_allocation = f->largest;
    if (o && o->largest > 0 && (uint64_t)o->largest < out->largest_allocation)
        out->largest_allocation = (uint64_t)o->largest;
    out->alignment = f->alignment;
    out->compute_units = f->units;
}
