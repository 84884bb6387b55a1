/* probe.c - what the device does besides OpenCL C 1.2: built, run and compared with the host's arithmetic before it is used; a name in
 * a list of extensions is not enough. Each question is asked once for a device and kept beside the compiled programs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "opencl.h"

enum { ITEMS = 64 };

static const sail_call none = {.op = SAIL_OP_MATMUL}; /* for messages */

/* Runs one group of 64 over `in` (each `words` words) and reads `n_out` floats; quiet: that it cannot be built is an answer. */
static sail_code ask(sail_device *d, const char *sources, const char *entry, const char *options, const uint32_t *const *in, int n_in,
                     float *out, int n_out)
{
    sail_err err = {0};
    ocl_launch l;
    cl_mem mem[3] = {NULL};
    cl_int status = CL_SUCCESS;
    const bool was = d->quiet;
    d->quiet = true;
    ocl_begin(&l, d, &none, &err, sources, entry, "%s", options);
    d->quiet = was;
    for (int i = 0; i <= n_in && status == CL_SUCCESS; i++) {
        mem[i] = d->api.clCreateBuffer(d->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, (i < n_in ? ITEMS : (size_t)n_out) * 4,
                                       i < n_in ? (void *)(uintptr_t)in[i] : out, &status);
        ocl_memory(&l, mem[i]);
    }
    sail_code code = status == CL_SUCCESS ? ocl_start_groups(&l, 1, ITEMS) : SAIL_E_DEVICE;
    if (code == SAIL_OK && d->api.clEnqueueReadBuffer(d->queue, mem[n_in], CL_TRUE, 0, (size_t)n_out * 4, out, 0, NULL, NULL) != CL_SUCCESS)
        code = SAIL_E_DEVICE;
    for (int i = 0; i <= n_in; i++)
        if (mem[i])
            d->api.clReleaseMemObject(mem[i]);
    if (code != SAIL_OK)
        sail_log(d->ctx, SAIL_LOG_DEBUG, "opencl: %s (%s) cannot be had: %.200s", entry, options, err.message);
    return code;
}

/* ---- answers on disk ---- */

enum { SUBGROUPS, PAIRS_F16, PAIRS_BF16 };
static const char *const questions[] = {"sub-groups", "pairs of f16", "pairs of bf16"};

static bool known(const sail_device *d, const char *question, int *answer)
{
    ocl_key key;
    unsigned char *data;
    size_t n;
    ocl_key_of(d, (const char *const[]){"probe 2", question, NULL}, &key);
    if (!ocl_cache_get(d, "probe", &key, &data, &n))
        return false;
    const bool good = n == sizeof *answer;
    if (good)
        memcpy(answer, data, n);
    free(data);
    return good;
}

static void keep(const sail_device *d, const char *question, int answer)
{
    ocl_key key;
    ocl_key_of(d, (const char *const[]){"probe 2", question, NULL}, &key);
    ocl_cache_put(d, "probe", &key, (const unsigned char *)&answer, sizeof answer);
}

/* ---- sub-groups ---- */

void ocl_subgroup_options(const sail_device *d, int size, char *out, size_t room)
{
    const char *std = d->facts.major >= 3 ? "-cl-std=CL3.0" : d->facts.major == 2 ? "-cl-std=CL2.0" : "-cl-std=CL1.2";
    if (d->subgroups_by_attribute)
        snprintf(out, room, "%s -D SUBGROUPS -D SUBGROUP_REQUIRED=%d", std, size);
    else
        snprintf(out, room, "%s -D SUBGROUPS", std);
}

static bool subgroups_work(sail_device *d, bool attribute, int *size)
{
    char options[160];
    uint32_t in[ITEMS];
    float x[ITEMS], y[4 * ITEMS] = {0};
    for (int i = 0; i < ITEMS; i++) {
        x[i] = (float)(i * 37 % 101 - 50); /* sums are exact */
        memcpy(&in[i], &x[i], 4);
    }
    d->subgroups_by_attribute = attribute;
    ocl_subgroup_options(d, *size, options, sizeof options);
    if (ask(d, "probe", "sub_groups", options, (const uint32_t *const[]){in}, 1, y, 4 * ITEMS) != SAIL_OK)
        return false;
    const int found = (int)y[128];
    if (found < 2 || found > ITEMS || (found & (found - 1)) || (attribute && found != *size))
        return false;
    for (int i = 0; i < ITEMS; i++) {
        float sum = 0, most = -1000;
        for (int k = i / found * found; k < i / found * found + found; k++) {
            sum += x[k];
            most = x[k] > most ? x[k] : most;
        }
        if (y[i] != sum || y[64 + i] != most || y[128 + i] != (float)found || y[192 + i] != (float)i)
            return false;
    }
    *size = found;
    return true;
}

int ocl_subgroup_size(sail_device *d)
{
    static const int sizes[] = {16, 32, 8, 64};
    if (d->subgroup_size >= 0 || d->options.variants == OCL_VARIANTS_NONE)
        return d->subgroup_size > 0 ? d->subgroup_size : 0;
    int answer = 0; /* negative: by attribute */
    d->subgroup_size = 0; /* what is built for the question must not ask it */
    if (!known(d, questions[SUBGROUPS], &answer)) {
        const bool claimed = d->facts.major >= 2 || ocl_has(&d->facts, "cl_khr_subgroups") || ocl_has(&d->facts, "cl_intel_subgroups");
        for (int i = 0; i < 4 && answer == 0 && ocl_has(&d->facts, "cl_intel_required_subgroup_size"); i++) {
            int size = sizes[i];
            if (subgroups_work(d, true, &size))
                answer = -size;
        }
        int size = 0;
        if (answer == 0 && claimed && subgroups_work(d, false, &size))
            answer = size;
        keep(d, questions[SUBGROUPS], answer);
    }
    d->subgroups_by_attribute = answer < 0;
    d->subgroup_size = answer < 0 ? -answer : answer;
    return d->subgroup_size;
}

/* ---- pairs of 16-bit numbers ---- */

/* Whether to ask at all: some compilers end the process over what they do not know. */
static bool may_have(const ocl_facts *f, int how)
{
    const bool amd = strstr(f->vendor, "AMD") || strstr(f->vendor, "Advanced Micro Devices");
    switch (how) {
    case 1: return f->fp16;
    case 2: return f->fp16 && f->gpu && amd;
    case 4: return f->gpu && amd;
    case 5: return ocl_has(f, "cl_intel_bfloat16_conversions") || ocl_has(f, "cl_intel_bfloat16");
    default: return true;
    }
}

static bool pairs_work(sail_device *d, sail_dtype t, int how)
{
    char options[32];
    uint32_t a[ITEMS], b[ITEMS];
    float x[4 * ITEMS], y[ITEMS], rounded[4 * ITEMS];
    uint16_t bits[4 * ITEMS];
    double want[ITEMS], size[ITEMS];
    for (int i = 0; i < 4 * ITEMS; i++)
        x[i] = (float)((i * 7919 % 509 - 254) * (i % 3 ? 0.0117 : 3.1));
    if (sail_from_f32(t, x, bits, 4 * ITEMS, NULL) != SAIL_OK || sail_to_f32(t, bits, rounded, 4 * ITEMS, NULL) != SAIL_OK)
        return false;
    for (int i = 0; i < ITEMS; i++) {
        const float *v = rounded + 4 * i;
        a[i] = bits[4 * i] | (uint32_t)bits[4 * i + 1] << 16;
        b[i] = bits[4 * i + 2] | (uint32_t)bits[4 * i + 3] << 16;
        y[i] = (float)i * 0.37f;
        want[i] = y[i] + (double)v[0] * v[2] + (double)v[1] * v[3];
        size[i] = fabs(y[i]) + fabs((double)v[0] * v[2]) + fabs((double)v[1] * v[3]);
    }
    snprintf(options, sizeof options, "-D DOT2=%d", how);
    if (ask(d, "dot2 probe", "pairs", options, (const uint32_t *const[]){a, b}, 2, y, ITEMS) != SAIL_OK)
        return false;
    for (int i = 0; i < ITEMS; i++)
        if (!(fabs(y[i] - want[i]) <= 2 * 0x1p-24 * size[i]))
            return false;
    return true;
}

int ocl_pairs(sail_device *d, sail_dtype t)
{
    static const int f16[] = {2, 1, 0}, bf16[] = {4, 5, 3, 0};
    int *const slot = &d->pairs[t == SAIL_BF16];
    const char *const question = questions[t == SAIL_BF16 ? PAIRS_BF16 : PAIRS_F16];
    if ((t != SAIL_F16 && t != SAIL_BF16) || d->options.variants == OCL_VARIANTS_NONE)
        return 0;
    if (*slot >= 0)
        return *slot;
    int answer = 0;
    if (!known(d, question, &answer)) {
        for (const int *how = t == SAIL_BF16 ? bf16 : f16; *how && !answer; how++)
            answer = may_have(&d->facts, *how) && pairs_work(d, t, *how) ? *how : 0;
        keep(d, question, answer);
    }
    return *slot = answer;
}

sail_code ocl_variants_check(sail_device *d, sail_err *err)
{
    if (d->options.variants == OCL_VARIANTS_SUBGROUPS && ocl_subgroup_size(d) == 0)
        return sail_fail(err, SAIL_E_OPTION, "opencl: variants: subgroups: %s, driver %s, has no sub-groups that compute rightly; `auto` uses "
                         "what there is", d->facts.name, d->facts.driver);
    if (d->options.variants == OCL_VARIANTS_PAIRS && ocl_pairs(d, SAIL_F16) == 0 && ocl_pairs(d, SAIL_BF16) == 0)
        return sail_fail(err, SAIL_E_OPTION, "opencl: variants: pairs: %s, driver %s, multiplies pairs of neither f16 nor bf16 rightly; `auto` "
                         "uses what there is", d->facts.name, d->facts.driver);
    return SAIL_OK;
}

void ocl_variants_describe(const sail_device *d, char *out, size_t room)
{
    static const char *const how[] = {"", "converted", "by AMD's dot", "shifted", "by AMD's dot", "converted"};
    static const char *const pairs[] = {"f16", "bf16"};
    int answer;
    size_t at = 0;
    *out = '\0';
    if (known(d, questions[SUBGROUPS], &answer))
        at += (size_t)(answer ? snprintf(out, room, "; sub-groups of %d work", answer < 0 ? -answer : answer)
                              : snprintf(out, room, "; no sub-groups that work"));
    for (int i = 0; i < 2 && at < room; i++)
        if (known(d, questions[PAIRS_F16 + i], &answer))
            at += (size_t)(answer > 0 && answer < 6 ? snprintf(out + at, room - at, "; pairs of %s %s", pairs[i], how[answer])
                                                    : snprintf(out + at, room - at, "; no pairs of %s", pairs[i]));
}
