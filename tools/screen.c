/* screen.c - log lines and progress on standard error, results on standard output, none of them torn by another.
 *
 * On a terminal the outermost thing in progress is a bar with rate and ETA, what goes on inside it a few words behind; elsewhere
 * there is a plain line now and then. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "cli_impl.h"

enum { DEPTH = 4, BAR = 24 };
static const double DRAW_EVERY = 0.1, PLAIN_EVERY = 15;

typedef struct task {
    char what[48];
    uint64_t done, total, first; /* first: what was done when it was first heard of (a resumed run) */
    double start;
} task;

struct sail__screen {
    sail__cli *cli;
    pthread_mutex_t lock;
    task tasks[DEPTH]; /* outermost first */
    int n;
    char status[256];
    double drawn_at;
    bool drawn;
    int lost; /* errno of the first line that standard output did not take */
};

static void erase(struct sail__screen *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}

static void duration(char out[24], double seconds)
{
    long t = (long)(seconds + 0.5);
    if (t >= 3600)
        snprintf(out, 24, "%ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, 24, "%ld:%02ld", t / 60, t % 60);
}

/* "3.2/s · ETA 0:42", or "0.8 s each" for slow things. */
static void rate_text(const task *t, double now, char *out, size_t size)
{
    double passed = now - t->start, rate = passed > 0 ? (double)(t->done - t->first) / passed : 0;
    char eta[24];
    *out = '\0';
    if (t->done <= t->first || passed < 0.5)
        return;
    int n = rate >= 1 ? snprintf(out, size, " · %.*f/s", rate < 10 ? 1 : 0, rate) : snprintf(out, size, " · %.1f s each", 1 / rate);
    if (t->total > t->done && n > 0 && (size_t)n < size) {
        duration(eta, (double)(t->total - t->done) / rate);
        snprintf(out + n, size - (size_t)n, " · ETA %s", eta);
    }
}

/* The first `width` columns of UTF-8 text in which each character takes one. */
static void print_cut(const char *text, int width)
{
    for (; *text && width > 0; width--) {
        size_t n = 1;
        while (((unsigned char)text[n] & 0xc0) == 0x80)
            n++;
        fwrite(text, 1, n, stderr);
        text += n;
    }
}

static void draw(struct sail__screen *s, double now)
{
    const task *t = &s->tasks[0], *inner = &s->tasks[s->n - 1];
    char rate[96], line[640], inside[96] = "";
    const char *dim = s->cli->color_err ? "\033[2m" : "", *bar = s->cli->color_err ? "\033[36m" : "", *off = s->cli->color_err ? "\033[0m" : "";
    rate_text(t, now, rate, sizeof rate);
    if (inner != t && inner->total)
        snprintf(inside, sizeof inside, " · %s %llu/%llu", inner->what, (unsigned long long)inner->done, (unsigned long long)inner->total);
    else if (inner != t)
        snprintf(inside, sizeof inside, " · %s %llu", inner->what, (unsigned long long)inner->done);
    erase(s);
    int used = (int)strlen(t->what) + 1;
    fprintf(stderr, "%s ", t->what);
    if (t->total) {
        int full = (int)(2.0 * BAR * (double)t->done / (double)t->total);
        full = full > 2 * BAR ? 2 * BAR : full;
        fputs(bar, stderr);
        for (int i = 0; i < full / 2; i++)
            fputs("━", stderr);
        if (full & 1)
            fputs("╸", stderr);
        fprintf(stderr, "%s%s", off, dim);
        for (int i = full / 2 + (full & 1); i < BAR; i++)
            fputs("─", stderr);
        fprintf(stderr, "%s ", off);
        used += BAR + 1;
        snprintf(line, sizeof line, "%llu/%llu %3.0f%%%s%s%s%s", (unsigned long long)t->done, (unsigned long long)t->total,
                 100.0 * (double)t->done / (double)t->total, rate, *s->status ? " · " : "", s->status, inside);
    } else {
        snprintf(line, sizeof line, "%llu%s%s%s%s", (unsigned long long)t->done, rate, *s->status ? " · " : "", s->status, inside);
    }
    print_cut(line, s->cli->width - 1 - used);
    fflush(stderr);
    s->drawn = true;
    s->drawn_at = now;
}

static void plain(struct sail__screen *s, double now)
{
    const task *t = &s->tasks[0];
    char rate[96];
    rate_text(t, now, rate, sizeof rate);
    if (t->total)
        fprintf(stderr, "%s %llu/%llu%s\n", t->what, (unsigned long long)t->done, (unsigned long long)t->total, rate);
    else
        fprintf(stderr, "%s %llu%s\n", t->what, (unsigned long long)t->done, rate);
    s->drawn_at = now;
}

static void on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct sail__screen *s = user;
    double now = sail__now();
    pthread_mutex_lock(&s->lock);
    int i = 0;
    while (i < s->n && strncmp(s->tasks[i].what, what, sizeof s->tasks[i].what - 1) != 0)
        i++;
    if (i == s->n) {
        if (s->n == DEPTH)
            i = s->n = DEPTH - 1;
        s->tasks[i] = (task){.first = done < total ? done : 0, .start = now};
        snprintf(s->tasks[i].what, sizeof s->tasks[i].what, "%s", what);
        if (s->n == 0)
            s->drawn_at = s->cli->terminal ? 0 : now; /* a plain line only for what takes its time */
    }
    s->n = i + 1; /* what was inside of it is over */
    s->tasks[i].done = done;
    s->tasks[i].total = total;
    bool over = total && done >= total;
    if (now - s->drawn_at >= (s->cli->terminal ? DRAW_EVERY : PLAIN_EVERY) && !s->cli->quiet) {
        if (s->cli->terminal)
            draw(s, now);
        else
            plain(s, now);
    }
    if (over)
        s->n = i;
    if (s->n == 0)
        erase(s);
    pthread_mutex_unlock(&s->lock);
}

static void on_log(void *user, sail_log_level level, const char *message)
{
    static const char *const prefix[] = {"error: ", "warning: ", "", ""};
    static const char *const color[] = {"\033[31m", "\033[33m", "", "\033[2m"};
    struct sail__screen *s = user;
    bool tint = s->cli->color_err;
    pthread_mutex_lock(&s->lock);
    erase(s);
    fprintf(stderr, "%s%s%s%s%s\n", tint ? color[level] : "", prefix[level], tint && level != SAIL_LOG_DEBUG ? "\033[0m" : "", message,
            tint ? "\033[0m" : "");
    pthread_mutex_unlock(&s->lock);
}

struct sail__screen *sail__screen_new(sail__cli *c)
{
    struct sail__screen *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->cli = c;
    pthread_mutex_init(&s->lock, NULL);
    sail_ctx_set_log(c->ctx, c->quiet ? SAIL_LOG_WARN : c->verbose ? SAIL_LOG_DEBUG : SAIL_LOG_INFO, on_log, s);
    sail_ctx_set_progress(c->ctx, on_progress, s);
    return s;
}

void sail__screen_free(struct sail__screen *s)
{
    if (!s)
        return;
    sail_ctx_set_log(s->cli->ctx, SAIL_LOG_WARN, NULL, NULL);
    sail_ctx_set_progress(s->cli->ctx, NULL, NULL);
    erase(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void sail__screen_line(struct sail__screen *s, FILE *to, const char *text)
{
    pthread_mutex_lock(&s->lock);
    erase(s);
    fflush(stderr);
    if ((fprintf(to, "%s\n", text) < 0 || fflush(to) != 0) && to == stdout && !s->lost)
        s->lost = errno;
    pthread_mutex_unlock(&s->lock);
}

int sail__screen_lost(const struct sail__screen *s) { return s->lost; }

void sail__screen_status(struct sail__screen *s, const char *text)
{
    pthread_mutex_lock(&s->lock);
    snprintf(s->status, sizeof s->status, "%s", text ? text : "");
    pthread_mutex_unlock(&s->lock);
}

void sail__screen_clear(struct sail__screen *s)
{
    pthread_mutex_lock(&s->lock);
    erase(s);
    s->n = 0;
    s->status[0] = '\0';
    pthread_mutex_unlock(&s->lock);
}
