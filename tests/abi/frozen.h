/* frozen.h - the plugin interface 1.0 as plugins were built for it once: never to be changed. The description had no `self`,
 * rows of options no `unit` and `help`. With NEWER, as a later 1.0 could be: every struct has members at its end that this
 * host has never heard of. */
#ifndef FROZEN_H
#define FROZEN_H

#include <stddef.h>
#include <stdint.h>

enum { OLD_KIND_PREFERENCE = 3, OLD_TYPE_F64 = 2, OLD_CAP_PAIRS = 1 };

typedef struct old_opt {
    const char *name;
    int type;
    uint32_t flags;
    size_t offset;
    double def, min, max;
    const char *def_str;
    const char *const *choices;
#ifdef NEWER
    const char *unit, *help, *example;
    double step;
#endif
} old_opt;

typedef struct old_var {
    int32_t id;
} old_var;
typedef struct old_tape old_tape;

typedef struct old_preference {
    uint32_t size;
    int (*outcomes)(const void *self, int k);
    old_var (*logprob)(const void *self, old_tape *t, int k, const old_var *score, int outcome);
#ifdef NEWER
    int (*width)(const void *self); /* what the host has learned of since comes before what it has not */
    double (*strength)(const void *self);
#endif
} old_preference;

typedef struct old_plugin {
    uint32_t size;
    uint16_t abi_major, abi_minor;
    uint32_t kind, caps;
    const char *name, *doc, *source;
    const old_opt *opts;
    uint32_t opt_stride, opts_size;
    const void *ops;
#ifdef NEWER
    const void *self;
    const char *license;
    uint64_t reserved[8];
#endif
} old_plugin;

/* exported by libsail.so.1 for as long as it is called that */
old_var sail_sub(old_tape *t, old_var a, old_var b);
old_var sail_mul(old_tape *t, old_var a, old_var b);
old_var sail_number(old_tape *t, double value);
old_var sail_log_sigmoid(old_tape *t, old_var a);

#endif
