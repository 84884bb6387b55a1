/* load.h - one plugin file: loading, checking, and trying it in a child process.
 *
 * Floor: backend; private to the registry. */
#ifndef SAIL_LOAD_H
#define SAIL_LOAD_H

#include "registry.h"

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
