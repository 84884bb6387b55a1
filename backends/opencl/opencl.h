/* opencl.h - the OpenCL backend's device, its memory, and how an op gets a compiled kernel and starts it.
 *
 * Threads: a device is used by one thread at a time. One in-order queue: what is enqueued runs later, in order; only download and
 * sync wait.
 * Ownership: the device owns kernels, scratch memory and slabs; they live until it is closed.
 *
 * Adding ops: write kernels/NAME.cl (name it in meson.build) and op_NAME.c with a table `const ocl_op ocl_NAME_ops[]` that ends
 * with an empty row, declare the table below and put it in the list in run.c. A run function reads:
 *
 *     ocl_launch l;
 *     ocl_begin(&l, d, c, err, "NAME", "entry", "-D TX=%s", ocl_type(c->in[0].dtype));
 *     ocl_matrix(&l, &c->in[0]);                    // three arguments: IN(TX, x) or OUT(TX, y) in the kernel
 *     ocl_i64(&l, c->in[0].rows);
 *     return ocl_start(&l, 2, global, local);       // local divides global
 *
 * The first error sticks and is what ocl_start returns. kernels/prelude.cl comes before every program: types by name (f32, bf16,
 * f16, i32), LOAD(T, p, i), STORE(T, p, i, v), IN and OUT, reports of bad ids. A program is looked up by its text and options: the
 * first use compiles it (or takes it from the disk), later ones cost a look into a table. */
#ifndef OPENCL_H
#define OPENCL_H

#include <stdio.h>

#include "loader.h"
#include "sail/backend.h"

typedef struct ocl_options {
    int64_t memory;     /* bytes; 0: what the device has */
    int64_t largest;    /* bytes of one allocation; 0: what the device allows */
    const char *cache;  /* directory of compiled programs; unset: the user's; "off": none */
    const char *build;  /* more options for the compiler */
    int tune, variants, kernels, registers;
} ocl_options;

/* tune: what is used of timings of matrix products' ways. variants: which kernels beyond OpenCL C 1.2. kernels: what facts.cpu says, or
 * else; registers likewise facts.few_registers. */
enum { OCL_TUNE_CACHED, OCL_TUNE_OFF, OCL_TUNE_ON };
enum { OCL_VARIANTS_AUTO, OCL_VARIANTS_NONE, OCL_VARIANTS_SUBGROUPS, OCL_VARIANTS_PAIRS };
enum { OCL_KERNELS_AUTO, OCL_KERNELS_PROCESSOR, OCL_KERNELS_GPU };
enum { OCL_REGISTERS_AUTO, OCL_REGISTERS_FEW, OCL_REGISTERS_MANY };

/* ---- what a device can do (device.c) ---- */

typedef struct ocl_facts {
    cl_platform_id platform;
    cl_device_id id;
    char name[128], vendor[64], driver[64], version[96], c_version[64], platform_name[96], platform_version[96];
    char *extensions; /* NULL: none */
    bool gpu, cpu;    /* neither: an accelerator. cpu: kernels are those for processors (option `kernels`) */
    bool usable;      /* else `why` */
    bool unified;     /* shares the host's memory */
    bool few_registers; /* items must hold few sums: GPUs that share the host's chip and have 4 KiB of registers a thread */
    bool fp64, fp16;
    char why[160];
    uint64_t memory, largest, local_bytes; /* bytes; local_bytes of a group */
    size_t group;                          /* work-items of a group at most */
    uint32_t alignment;                    /* of buffers, bytes */
    int units;
    int vector; /* floats the device computes with at once: 4, 8 or 16 (fewer count as 4, more as 16) */
    int major, minor; /* of OpenCL C */
} ocl_facts;

bool ocl_has(const ocl_facts *f, const char *extension);
/* All devices, best first: GPUs, accelerators, processors; those that cannot be used last. *out is for free(), after
 * ocl_facts_free of each. SAIL_E_NOTFOUND says what is missing. */
sail_code ocl_list(const ocl_api *api, ocl_facts **out, int *n, sail_err *err);
void ocl_list_free(ocl_facts *list, int n);
void ocl_describe(const ocl_facts *f, const ocl_options *o, sail_device_info *out);

/* ---- memory (memory.c) ---- */

typedef struct ocl_slab ocl_slab;

struct sail_buffer {
    cl_mem mem;
    uint64_t offset, bytes, room; /* bytes of mem from offset on; room: taken, rounded up */
    ocl_slab *slab;               /* NULL: mem is its own */
};

/* ---- programs and kernels (program.c) ---- */

typedef struct ocl_program ocl_program;

typedef struct ocl_kernel {
    struct ocl_kernel *next;
    ocl_program *program;
    cl_kernel handle;
    char *entry;
    size_t group;          /* work-items of a group at most, for this kernel */
    uint64_t local, private_bytes;
    char *variant; /* the options it was compiled with, for profiles */
} ocl_kernel;

/* kernels/NAME.cl, embedded in the library. */
typedef struct ocl_source {
    const char *name, *text;
} ocl_source;
extern const ocl_source ocl_sources[]; /* the last has no name */

/* The kernel `entry` of the program made of the named sources ("quant matmul": kernels/quant.cl, then kernels/matmul.cl, behind
 * the prelude) compiled with `options`. */
sail_code ocl_kernel_get(sail_device *d, const char *sources, const char *entry, const char *options, ocl_kernel **out,
                         sail_err *err);
void ocl_programs_free(sail_device *d);

/* ---- what the device does besides OpenCL C 1.2 (probe.c): answers from kernels that were built, run and compared ---- */

/* Items of a sub-group whose reductions are right; 0: there are none. */
int ocl_subgroup_size(sail_device *d);
/* Options for a program that uses sub-groups of this size. */
void ocl_subgroup_options(const sail_device *d, int size, char *out, size_t room);
/* How products of pairs of f16 or bf16 are made (DOT2 of kernels/dot2.cl); 0: not at all. */
int ocl_pairs(sail_device *d, sail_dtype t);
/* SAIL_E_OPTION where a variant was asked for that the device has not. */
sail_code ocl_variants_check(sail_device *d, sail_err *err);
/* What was found before, on disk: "; sub-groups of 16 work; pairs of bf16 shifted". Asks the device nothing: needs only facts and cache. */
void ocl_variants_describe(const sail_device *d, char *out, size_t room);

/* ---- the cache on disk (cache.c): also for the choices of a tuner ---- */

typedef struct ocl_key {
    unsigned char hash[32]; /* SHA-256 of what it was made from: includes device, driver and platform */
} ocl_key;
/* The key of a NULL-terminated list of texts on this device. */
void ocl_key_of(const sail_device *d, const char *const *texts, ocl_key *out);
/* Bytes kept under (kind, key), for free(); false: there is none, or it is damaged. */
bool ocl_cache_get(const sail_device *d, const char *kind, const ocl_key *key, unsigned char **data, size_t *n);
/* Whole or not at all, whatever other processes do; a failure costs only the next start's time, so there is no error. */
void ocl_cache_put(const sail_device *d, const char *kind, const ocl_key *key, const unsigned char *data, size_t n);

/* ---- ops (run.c) ---- */

typedef struct ocl_op {
    sail_op op;
    /* May be NULL: every call that sail_call_check allows and whose matrices are f32, bf16, f16 or i32. */
    bool (*supports)(const sail_device *d, const sail_call *c);
    /* Outputs without elements never get here; a function need not look again at what ops.def says. */
    sail_code (*run)(sail_device *d, const sail_call *c, sail_err *err);
} ocl_op;

extern const ocl_op ocl_attention_ops[], ocl_elementwise_ops[], ocl_head_ops[], ocl_matmul_ops[], ocl_norm_ops[],
    ocl_optim_ops[], ocl_rows_ops[], ocl_sample_ops[];

/* The product alone, for ops that are made of one: call is laid out as a MATMUL, but a, b and y may be of different float types. It
 * uses scratch slots 0, 1, 3 and 4. */
sail_code ocl_matmul(sail_device *d, const sail_call *call, sail_err *err);

/* Column sums alone: call is laid out as a BIAS_GRAD. It uses scratch slot 0. */
sail_code ocl_bias_grad(sail_device *d, const sail_call *call, sail_err *err);

enum { OCL_SCRATCH = 8, OCL_STAGES = 64, OCL_FAULT_WORDS = 8, OCL_EVENTS = 1024 };

/* Copies of what is uploaded, until the device has it. */
typedef struct ocl_stage {
    void *data;
    size_t room;
    cl_event event; /* NULL: free */
} ocl_stage;

/* While profiling: what a kernel did for an op, and starts whose times are not known yet. */
typedef struct ocl_use {
    const ocl_kernel *kernel;
    sail_op op;
    uint64_t calls;
    double seconds, flops, bytes;
} ocl_use;

typedef struct ocl_timed {
    cl_event event;
    int use;
} ocl_timed;

struct sail_device {
    sail_ctx *ctx;
    ocl_api api;
    ocl_options options;
    ocl_facts facts;
    char *cache, *build; /* directory, NULL: none; compiler options, "" */
    cl_context context;
    cl_command_queue queue;
    const ocl_op *ops[SAIL_OP_COUNT];
    ocl_program *programs;
    struct ocl_tuning *tuning; /* plan.c; NULL: nothing was asked yet */
    int subgroup_size, pairs[2]; /* probe.c; negative: not asked yet. pairs: f16, bf16 */
    bool subgroups_by_attribute; /* kernels say the size */
    bool quiet;                  /* a program that does not compile is no error to show */
    ocl_slab *slabs;
    uint64_t limit; /* bytes of memory that may be taken */
    cl_mem scratch[OCL_SCRATCH];
    uint64_t scratch_bytes[OCL_SCRATCH];
    cl_mem fault;   /* OCL_FAULT_WORDS int32: what a kernel found wrong first */
    bool may_fault; /* a kernel that can tell has been started since the last look */
    ocl_stage stages[OCL_STAGES];
    int next_stage;
    bool profiling;
    ocl_timed timed[OCL_EVENTS];
    int n_timed;
    ocl_use *uses;
    int n_uses, cap_uses;
    double seconds[SAIL_OP_COUNT];
    uint64_t calls[SAIL_OP_COUNT];
    sail_counters counters;
};

/* ---- starting kernels (launch.c) ---- */

typedef struct ocl_launch {
    sail_device *d;
    const sail_call *call;
    sail_err *err;
    sail_code code;
    ocl_kernel *kernel;
    cl_uint next;        /* argument */
    double flops, bytes; /* of this launch, for profiles: what must be done and moved at least */
} ocl_launch;

const char *ocl_type(sail_dtype t); /* name in kernels: f32, bf16, f16, i32, u8; a block type's own name */
/* options: printf-like; may be "". */
void ocl_begin(ocl_launch *l, sail_device *d, const sail_call *c, sail_err *err, const char *sources, const char *entry,
               const char *options, ...) SAIL_PRINTF(7, 8);
/* Memory, offset in elements (ulong), elements between rows (long); of block types in bytes. An absent matrix gets some other
 * memory, which the kernel must leave alone. */
void ocl_matrix(ocl_launch *l, const sail_tensor *t);
void ocl_memory(ocl_launch *l, cl_mem m);
void ocl_i32(ocl_launch *l, int32_t v);
void ocl_i64(ocl_launch *l, int64_t v);
void ocl_u64(ocl_launch *l, uint64_t v);
void ocl_f32(ocl_launch *l, float v);
void ocl_local(ocl_launch *l, size_t bytes);
/* Two arguments, FAULTS in the kernel: it reports ids that are out of range. The next wait returns the error. */
void ocl_faults(ocl_launch *l);
/* local NULL: the driver's choice. */
sail_code ocl_start(ocl_launch *l, int dims, const size_t *global, const size_t *local);
/* A kernel over [rows, cols], each item walking by get_global_size: columns along dimension 0, rows along 1. */
sail_code ocl_start_map(ocl_launch *l, int64_t rows, int64_t cols);
/* `groups` work-groups of `items`. */
sail_code ocl_start_groups(ocl_launch *l, int64_t groups, size_t items);
/* Work-items for a group that works on rows of n: a power of two, at most `most` and what device and kernel allow. */
size_t ocl_group_for(const ocl_launch *l, int64_t n, size_t most);

/* Memory for one op's own intermediate results, of at least `bytes`: number `slot`, kept from op to op, contents not. */
sail_code ocl_scratch(sail_device *d, int slot, uint64_t bytes, cl_mem *out, sail_err *err);

/* Every OpenCL call's result goes through here: SAIL_OK, or an error that names what was done and the reason. */
sail_code ocl_check(cl_int status, sail_err *err, const char *fmt, ...) SAIL_PRINTF(3, 4);
const char *ocl_status_name(cl_int status);

/* queue.c */
sail_code ocl_queue_new(sail_device *d, bool profiling, sail_err *err);
void ocl_stages_free(sail_device *d);
void ocl_time_collect(sail_device *d); /* all timed launches are done */
/* Note the start of a launch; event: the driver's, from now on this table's. */
sail_code ocl_time_note(const ocl_launch *l, cl_event event);
sail_code ocl_profiling(sail_device *d, bool on, sail_err *err);
void ocl_profile(sail_device *d, double *seconds, uint64_t *calls);
void ocl_uses(sail_device *d, sail_kernel_use *out, int cap, int *n);
sail_code ocl_upload(sail_device *d, sail_buffer *b, uint64_t offset, const void *src, uint64_t bytes, sail_err *err);
sail_code ocl_download(sail_device *d, sail_buffer *b, uint64_t offset, void *dst, uint64_t bytes, sail_err *err);
sail_code ocl_copy(sail_device *d, sail_buffer *to, uint64_t to_offset, sail_buffer *from, uint64_t from_offset, uint64_t bytes,
                   sail_err *err);
sail_code ocl_sync(sail_device *d, sail_err *err);

/* memory.c */
sail_code ocl_mem_new(sail_device *d, uint64_t bytes, const char *what, cl_mem *out, sail_err *err);
void ocl_mem_free(sail_device *d, cl_mem mem, uint64_t bytes);
sail_code ocl_alloc(sail_device *d, uint64_t bytes, sail_buffer **out, sail_err *err);
void ocl_free(sail_device *d, sail_buffer *b);
void ocl_slabs_free(sail_device *d);

/* limits.c */
double ocl_now(void); /* seconds, of a clock that only goes forward */
sail_code ocl_limits(sail_device *d, double *flops, double *bytes, sail_err *err);

/* run.c */
void ocl_ops_fill(sail_device *d);
bool ocl_supports(sail_device *d, const sail_call *call);
sail_code ocl_run(sail_device *d, const sail_call *calls, size_t n, sail_err *err);

#endif
