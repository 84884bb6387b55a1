/* load.h - one plugin file: loading, checking, and trying it in a child process.
 *
 * Floor: backend. Threads: the owner of the context. What was loaded stays so as long as the process. */
#ifndef SAIL_LOAD_H
#define SAIL_LOAD_H

#include "../base/base.h"
#include "../sail/plugin.h"

/* A checked, zero-extended copy of a plugin's description: all members are safe to read; ops was checked to be at least
 * as large as its own size says and is zero-extended to `ops_size` of the host's kind. opts has the host's stride. */
typedef struct sail_loaded {
    sail_plugin plugin;
    const char *path; /* file; "(built in)" */
    const void *ops;
} sail_loaded;

bool sail__kind_parse(const char *name, sail_kind *out);
const char *sail__kind_name(sail_kind k);

/* Bytes of every kind's table of functions as kept by the host: what a plugin's own table lacks is zero. */
enum { SAIL_OPS_ROOM = 4096 };

/* A checked copy of the description in the arena, zero-extended. `kind`: SAIL_KIND_COUNT for any; `name`: NULL for any.
 * The error begins with `path`. */
sail_code sail__plugin_copy(sail_arena *a, const sail_plugin *p, const char *path, sail_kind kind, const char *name,
                            sail_loaded *out, sail_err *err);
/* dlopen, query, copy. The file is never unloaded. */
sail_code sail__plugin_open(sail_arena *a, const char *path, sail_kind kind, const char *name, sail_loaded *out, sail_err *err);
/* The same in a child process, whose crash, exit or silence of 2 s becomes an error. *doc and *source (may be NULL) are
 * copied into the arena. */
sail_code sail__plugin_probe(sail_arena *a, const char *path, sail_kind kind, const char *name, const char **doc,
                             const char **source, sail_err *err);

#endif
