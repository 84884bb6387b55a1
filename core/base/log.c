/* log.c - the context: messages, progress, cancellation. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base.h"
#include "ctx.h"

static void to_stderr(void *user, sail_log_level level, const char *message)
{
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    (void)user;
    fprintf(stderr, "%s%s\n", prefix[level], message);
}

sail_ctx *sail_ctx_new(void)
{
    sail_ctx *ctx = sail__calloc(1, sizeof *ctx);
    if (!ctx)
        return NULL;
    pthread_mutex_init(&ctx->log_lock, NULL);
    pthread_mutex_init(&ctx->progress_lock, NULL);
    atomic_init(&ctx->cancelled, false);
    ctx->level = SAIL_LOG_INFO;
    ctx->log = to_stderr;
    return ctx;
}

void sail_ctx_free(sail_ctx *ctx)
{
    if (!ctx)
        return;
    for (int i = SAIL_CTX_MOST_SLOTS - 1; i >= 0; i--)
        if (ctx->slots[i].p && ctx->slots[i].destroy)
            ctx->slots[i].destroy(ctx->slots[i].p);
    pthread_mutex_destroy(&ctx->log_lock);
    pthread_mutex_destroy(&ctx->progress_lock);
    sail__free(ctx);
}

void sail_ctx_set_log(sail_ctx *ctx, sail_log_level most_detailed, sail_log_sink sink, void *user)
{
    pthread_mutex_lock(&ctx->log_lock);
    ctx->level = most_detailed;
    ctx->log = sink ? sink : to_stderr;
    ctx->log_user = sink ? user : NULL;
    pthread_mutex_unlock(&ctx->log_lock);
}

void sail_log(sail_ctx *ctx, sail_log_level level, const char *fmt, ...)
{
    char text[2048], *longer = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof text && (longer = sail__malloc((size_t)n + 1))) {
        va_start(ap, fmt);
        vsnprintf(longer, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    pthread_mutex_lock(&ctx->log_lock);
    if (level <= ctx->level)
        ctx->log(ctx->log_user, level, longer ? longer : text);
    pthread_mutex_unlock(&ctx->log_lock);
    sail__free(longer);
}

void sail_cancel(sail_ctx *ctx)
{
    atomic_store_explicit(&ctx->cancelled, true, memory_order_relaxed);
}

bool sail_cancelled(const sail_ctx *ctx)
{
    return atomic_load_explicit(&ctx->cancelled, memory_order_relaxed);
}

void sail_ctx_set_progress(sail_ctx *ctx, sail_progress_sink sink, void *user)
{
    pthread_mutex_lock(&ctx->progress_lock);
    ctx->progress = sink;
    ctx->progress_user = user;
    pthread_mutex_unlock(&ctx->progress_lock);
}

/* A lock of its own, so that a progress sink may log. */
void sail_progress(sail_ctx *ctx, const char *what, uint64_t done, uint64_t total)
{
    pthread_mutex_lock(&ctx->progress_lock);
    if (ctx->progress)
        ctx->progress(ctx->progress_user, what, done, total);
    pthread_mutex_unlock(&ctx->progress_lock);
}
