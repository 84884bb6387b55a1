/* log.h - the context that everything hangs off, and messages to the user.
 *
 * Floor: base. Threads: sail_log may be called from any thread; a context is made and freed on one thread.
 * There are no global variables: two contexts in one process do not know of each other. */
#ifndef SAIL_LOG_H
#define SAIL_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_ctx sail_ctx;

typedef enum sail_log_level { SAIL_LOG_ERROR, SAIL_LOG_WARN, SAIL_LOG_INFO, SAIL_LOG_DEBUG } sail_log_level;

/* Receives each message (no newline at its end). Called under the context's log lock: must not log. */
typedef void (*sail_log_sink)(void *user, sail_log_level level, const char *message);

/* A new context: messages of level INFO and worse go to standard error. NULL when out of memory. */
sail_ctx *sail_ctx_new(void);
void sail_ctx_free(sail_ctx *ctx);

void sail_ctx_set_log(sail_ctx *ctx, sail_log_level most_detailed, sail_log_sink sink, void *user);
void sail_log(sail_ctx *ctx, sail_log_level level, const char *fmt, ...) SAIL_PRINTF(3, 4);

/* Cancellation: set from a signal handler or another thread (async-signal-safe); long operations ask and
 * return SAIL_E_CANCEL. */
void sail_cancel(sail_ctx *ctx);
bool sail_cancelled(const sail_ctx *ctx);

/* Progress of something long, shown by the program: done of total (total 0: unknown) units of `what`. */
void sail_progress(sail_ctx *ctx, const char *what, uint64_t done, uint64_t total);
typedef void (*sail_progress_sink)(void *user, const char *what, uint64_t done, uint64_t total);
void sail_ctx_set_progress(sail_ctx *ctx, sail_progress_sink sink, void *user);

#ifdef __cplusplus
}
#endif
#endif
