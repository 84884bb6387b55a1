/* pace.c - see pace.h. */
#include "pace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double WINDOW = 60;

void sail__pace_free(sail__pace *p)
{
    sail__free(p->events);
    p->events = NULL;
    p->first = p->n = p->cap = 0;
}

static void forget(sail__pace *p, double now)
{
    while (p->first < p->n && p->events[p->first].time <= now - WINDOW)
        p->first++;
}

double sail__pace_wait(sail__pace *p, double now, int64_t tokens)
{
    double wait = p->paused_until > now ? p->paused_until - now : 0;
    forget(p, now);
    int64_t count = (int64_t)(p->n - p->first), sum = 0;
    for (size_t i = p->first; i < p->n; i++)
        sum += p->events[i].tokens;
    for (size_t i = p->first; i < p->n; i++) { /* how many of the oldest must leave the window */
        bool room = (p->requests == 0 || count < p->requests) && (p->tokens == 0 || sum + tokens <= p->tokens);
        if (room)
            break;
        wait = fmax(wait, p->events[i].time + WINDOW - now);
        count--;
        sum -= p->events[i].tokens;
    }
    return wait;
}

sail_code sail__pace_sent(sail__pace *p, double now, int64_t tokens, uint64_t *id, sail_err *err)
{
    forget(p, now);
    if (p->first > 0 && p->n == p->cap) {
        memmove(p->events, p->events + p->first, (p->n - p->first) * sizeof *p->events);
        p->dropped += p->first;
        p->n -= p->first;
        p->first = 0;
    }
    SAIL_TRY(sail__grow(&p->events, &p->cap, p->n + 1, sizeof *p->events, err));
    *id = p->dropped + p->n;
    p->events[p->n++] = (sail__pace_event){now, tokens};
    return SAIL_OK;
}

void sail__pace_correct(sail__pace *p, uint64_t id, int64_t tokens)
{
    if (id >= p->dropped && id - p->dropped < p->n)
        p->events[id - p->dropped].tokens = tokens;
}

void sail__pace_pause(sail__pace *p, double until) { p->paused_until = fmax(p->paused_until, until); }

double sail__pace_backoff(int attempt, double base, double most, double u)
{
    double wait = base * pow(2, attempt > 1 ? fmin(attempt - 1, 60) : 0);
    return fmin(wait, most) * (0.5 + 0.5 * u);
}

double sail__retry_after(const char *value, double wall)
{
    char *end;
    while (*value == ' ' || *value == '\t')
        value++;
    if (*value >= '0' && *value <= '9') {
        double seconds = strtod(value, &end);
        while (*end == ' ' || *end == '\t')
            end++;
        return *end || !isfinite(seconds) ? (double)NAN : seconds;
    }
    struct tm t;
    memset(&t, 0, sizeof t);
    const char *rest = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &t);
    if (!rest || *rest)
        return NAN;
    double at = (double)timegm(&t);
    return at > wall ? at - wall : 0;
}
