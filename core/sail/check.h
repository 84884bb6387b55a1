/* check.h - conformance checks of a plugin, from its file.
 *
 * Floor: align. For tests of plugins (tools/new-plugin writes one) and for `sail plugins --check`. Threads: the owner of the
 * context. The file is tried in a child process first; then its functions are called here, so that a plugin which crashes
 * in one of them ends the process. */
#ifndef SAIL_CHECK_H
#define SAIL_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "log.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One check: what must hold ("derivatives"), whether it does, and figures or what is wrong. Texts live during the call. */
typedef void (*sail_check_report)(void *user, const char *what, bool holds, const char *detail);

/* Checks that hold for every plugin: it loads, its name is that of its file, its options have help and defaults within
 * their range, the functions it must have are there. Then those of its kind:
 *   objective   derivatives of the loss against central differences, on every route
 *   preference  probabilities sum to 1; derivatives against central differences; both finite far out
 *   strategy    routes' probabilities sum to 1; plans are within their bounds; choices are different ones of what there is; all of it at
 *               every step, and the same again when asked again
 *   judge       outcomes exist for the number of responses; whether they turn when the responses do is told
 *   dataset     records of every form give a row, a reason to drop it, or an error that says something
 *   optimizer   the plan names an optimiser's op and operands that it has
 *   backend     devices open; what is written can be read
 * Plugins of other kinds have no functions that could be called. path: NAME.so, or KIND-NAME.so. options: n texts
 * "name=value" (value in JSON; what is none is a string). report may be NULL. SAIL_E_PLUGIN where anything does not hold. */
sail_code sail_plugin_check(sail_ctx *ctx, const char *path, const char *const *options, size_t n, sail_check_report report,
                            void *user, sail_err *err);

#ifdef __cplusplus
}
#endif
#endif
