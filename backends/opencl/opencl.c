/* opencl.c - the OpenCL backend as a plugin: its options, opening a device, the table of functions. */
#include "matmul.h"

#include <stdlib.h>
#include <string.h>

#include "sail/plugin.h"

static const char *const tunes[] = {"cached", "off", "on", NULL}, *const variants[] = {"auto", "none", "subgroups", "pairs", NULL};
static const char *const shapes[] = {"auto", "processor", "gpu", NULL};
static const char *const registers[] = {"auto", "few", "many", NULL};

static const sail_opt opts[] = {
    SAIL_OPT_INT(ocl_options, memory, .def = 0, .min = 0, .max = 9e15, .unit = "bytes",
                 .help = "device memory to use at most; 0: all of it"),
    SAIL_OPT_INT(ocl_options, largest, .def = 0, .min = 0, .max = 9e15, .unit = "bytes",
                 .help = "largest single allocation; 0: what the device allows"),
    SAIL_OPT_STR(ocl_options, cache,
                 .help = "directory of compiled programs, or off; unset: $XDG_CACHE_HOME/sail/opencl, or in ~/.cache"),
    SAIL_OPT_STR(ocl_options, build, .help = "more options for the device's compiler, such as -cl-opt-disable"),
    SAIL_OPT_CHOICE(ocl_options, tune, .def = OCL_TUNE_CACHED, .choices = tunes,
                    .help = "ways of matrix products: cached uses what `sail doctor --tune` found, on times each new shape, off neither"),
    SAIL_OPT_CHOICE(ocl_options, variants, .def = OCL_VARIANTS_AUTO, .choices = variants,
                    .help = "kernels beyond OpenCL C 1.2: auto uses those that a test on the device found right; or one kind wherever it fits"),
    SAIL_OPT_CHOICE(ocl_options, kernels, .def = OCL_KERNELS_AUTO, .choices = shapes,
                    .help = "which kernels: auto takes what suits the device; a processor's (few items, vectors, no barriers) or a gpu's run "
                            "anywhere, only slower"),
    SAIL_OPT_CHOICE(ocl_options, registers, .def = OCL_REGISTERS_AUTO, .choices = registers,
                    .help = "how much an item of a GPU's kernels holds; auto: few on Intel's integrated GPUs, where more would spill to memory"),
    {0},
};

/* The directory of compiled programs; NULL: none. */
static char *cache_dir(const ocl_options *o)
{
    char path[4096];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (o->cache && !strcmp(o->cache, "off"))
        return NULL;
    if (o->cache && *o->cache)
        return strdup(o->cache);
    if (cache && *cache == '/')
        snprintf(path, sizeof path, "%s/sail/opencl", cache);
    else if (home && *home == '/')
        snprintf(path, sizeof path, "%s/.cache/sail/opencl", home);
    else
        return NULL;
    return strdup(path);
}

static sail_code devices(sail_ctx *ctx, const void *options, sail_device_info *out, int cap, int *n, sail_err *err)
{
    ocl_api api;
    ocl_facts *list = NULL;
    *n = 0;
    SAIL_TRY(ocl_api_open(&api, err));
    const sail_code code = ocl_list(&api, &list, n, err);
    char *cache = options ? cache_dir(options) : NULL;
    for (int i = 0; i < *n && i < cap; i++) {
        const sail_device as_known = {.ctx = ctx, .facts = list[i], .cache = cache};
        ocl_describe(&list[i], options, &out[i]);
        const size_t used = strlen(out[i].note);
        if (list[i].usable)
            ocl_variants_describe(&as_known, out[i].note + used, sizeof out[i].note - used);
    }
    free(cache);
    ocl_list_free(list, *n);
    ocl_api_close(&api);
    return code;
}

static void device_close(sail_device *d)
{
    if (!d)
        return;
    if (d->queue)
        d->api.clFinish(d->queue);
    ocl_time_collect(d);
    free(d->uses);
    ocl_stages_free(d);
    ocl_tuning_free(d);
    ocl_programs_free(d);
    ocl_slabs_free(d);
    for (int i = 0; i < OCL_SCRATCH; i++)
        ocl_mem_free(d, d->scratch[i], d->scratch_bytes[i]);
    if (d->fault)
        d->api.clReleaseMemObject(d->fault);
    if (d->queue)
        d->api.clReleaseCommandQueue(d->queue);
    if (d->context)
        d->api.clReleaseContext(d->context);
    free(d->facts.extensions);
    free(d->cache);
    free(d->build);
    if (d->api.library)
        ocl_api_close(&d->api);
    free(d);
}

static sail_code choose(sail_device *d, int index, sail_err *err)
{
    ocl_facts *list = NULL;
    int n = 0;
    SAIL_TRY(ocl_list(&d->api, &list, &n, err));
    if (index < 0 || index >= n || !list[index].usable) {
        const sail_code code =
            index < 0 || index >= n
                ? sail_fail(err, SAIL_E_ARG, "opencl: device %d: there are %d (sail doctor lists them)", index, n)
                : sail_fail(err, SAIL_E_DEVICE, "opencl: device %d, %s, cannot be used: %s", index, list[index].name, list[index].why);
        ocl_list_free(list, n);
        return code;
    }
    d->facts = list[index];
    if (d->options.kernels != OCL_KERNELS_AUTO)
        d->facts.cpu = d->options.kernels == OCL_KERNELS_PROCESSOR;
    if (d->options.registers != OCL_REGISTERS_AUTO)
        d->facts.few_registers = d->options.registers == OCL_REGISTERS_FEW;
    list[index].extensions = NULL;
    ocl_list_free(list, n);
    return SAIL_OK;
}

static void CL_CALLBACK driver_says(const char *text, const void *more, size_t size, void *user)
{
    sail_log(user, SAIL_LOG_DEBUG, "opencl: the driver says: %s", text);
}

static sail_code set_up(sail_device *d, int index, sail_err *err)
{
    static const int32_t none[OCL_FAULT_WORDS] = {0};
    cl_int status;
    sail_device_info info;
    SAIL_TRY(ocl_api_open(&d->api, err));
    SAIL_TRY(choose(d, index, err));
    ocl_describe(&d->facts, &d->options, &info);
    d->limit = info.memory;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)d->facts.platform, 0};
    d->context = d->api.clCreateContext(properties, 1, &d->facts.id, driver_says, d->ctx, &status);
    SAIL_TRY(ocl_check(status, err, "opening %s", d->facts.name));
    SAIL_TRY(ocl_queue_new(d, false, err));
    d->fault = d->api.clCreateBuffer(d->context, CL_MEM_READ_WRITE, sizeof none, NULL, &status);
    SAIL_TRY(ocl_check(status, err, "a buffer of %zu bytes", sizeof none));
    SAIL_TRY(ocl_check(d->api.clEnqueueWriteBuffer(d->queue, d->fault, CL_TRUE, 0, sizeof none, none, 0, NULL, NULL), err,
                       "the first upload"));
    ocl_ops_fill(d);
    return ocl_variants_check(d, err);
}

static sail_code device_open(sail_ctx *ctx, const void *options, int index, sail_device **out, sail_err *err)
{
    sail_device *d = calloc(1, sizeof *d);
    if (!d)
        return sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for a device");
    d->ctx = ctx;
    d->subgroup_size = d->pairs[0] = d->pairs[1] = -1;
    if (options)
        d->options = *(const ocl_options *)options;
    d->cache = cache_dir(&d->options);
    d->build = strdup(d->options.build ? d->options.build : "");
    d->options.cache = d->options.build = NULL; /* the caller's */
    const sail_code code = d->build ? set_up(d, index, err) : sail_fail(err, SAIL_E_NOMEM, "opencl: no memory for a device");
    if (code != SAIL_OK) {
        device_close(d);
        return code;
    }
    *out = d;
    return SAIL_OK;
}

static void device_info(sail_device *d, sail_device_info *out) { ocl_describe(&d->facts, &d->options, out); }
static void counters(sail_device *d, sail_counters *out) { *out = d->counters; }

/* ---- tuning, told in the interface's words ---- */

typedef struct telling {
    sail_tell_tried *tell;
    void *user;
    char call[128];
} telling;

static void tell_one(void *user, const char *way, double seconds, double flops, const char *problem)
{
    const telling *t = user;
    if (t->tell)
        t->tell(t->user, &(sail_tried){.call = t->call, .way = way, .seconds = seconds, .flops = flops, .problem = problem});
}

static sail_code tune(sail_device *d, const sail_call *call, sail_tell_tried *tell, void *user, sail_err *err)
{
    char way[128];
    ocl_plan best;
    if (call->op != SAIL_OP_MATMUL || !ocl_supports(d, call))
        return sail_fail(err, SAIL_E_ARG, "opencl: %s of this shape has no ways to choose from", sail_op_name(call->op));
    const ocl_shape s = ocl_shape_of(call);
    telling t = {.tell = tell, .user = user};
    ocl_shape_text(&s, t.call, sizeof t.call);
    if (s.m < 1 || s.n < 1 || s.k < 1)
        return SAIL_OK;
    SAIL_TRY(ocl_tune(d, &s, tell_one, &t, &best, err));
    ocl_plan_text(&best, way, sizeof way);
    if (tell)
        tell(user, &(sail_tried){.call = t.call, .way = way, .chosen = true});
    return SAIL_OK;
}

static const sail_backend ops = {
    .size = sizeof ops,
    .devices = devices,
    .open = device_open,
    .close = device_close,
    .info = device_info,
    .alloc = ocl_alloc,
    .free = ocl_free,
    .upload = ocl_upload,
    .download = ocl_download,
    .copy = ocl_copy,
    .supports = ocl_supports,
    .run = ocl_run,
    .sync = ocl_sync,
    .counters = counters,
    .profile = ocl_profile,
    .choices_save = ocl_choices_save,
    .choices_load = ocl_choices_load,
    .tune = tune,
    .profiling = ocl_profiling,
    .kernels = ocl_uses,
    .limits = ocl_limits,
};

SAIL_PLUGIN(SAIL_KIND_BACKEND, opencl, "GPUs of AMD and Intel, and whatever else has an OpenCL 1.2 driver", "", ocl_options, opts, &ops, 0)
