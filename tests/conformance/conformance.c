/* conformance.c - every op of a backend against ref.
 *
 *   conformance --backend NAME [--device WHICH] [--OPTION VALUE …] [--threads 1,2,4] [--ops a,b] [--every N] [--kinds N] [--most N]
 *               [--json FILE] [--differences] [--bench] [--verbose]
 *
 * --every N: each N-th case of an op; --kinds N: each N-th kind of an op (cases that differ in sizes alone, and so share programs),
 * with all its cases; --most N: cases whose matrices have N elements at most. --json: the report for programs.
 * Options that are not its own go to the backend. Of several numbers of threads the first is compared with ref, and the
 * others must give the same bits. Ends with "N passed, N failed"; status 1 when anything failed, 77 (skipped) when
 * the backend says that this machine has not what an option asks for, or no device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static void report(const suite *s)
{
    for (int op = 0; op < SAIL_OP_COUNT; op++) {
        if (s->count[op] == 0)
            continue;
        printf("%-15s %4d cases, worst %5.1f%% of the bound", sail_op_name((sail_op)op), s->count[op], 100 * s->worst[op]);
        if (s->worst_difference[op] > 0)
            printf(", differences %5.1f%%", 100 * s->worst_difference[op]);
        printf("\n");
    }
    if (s->checked_differences)
        printf("%d derivatives compared with central differences\n", s->checked_differences);
}

/* {"device": …, "kind": …, "passed": n, "failed": n, "ops": {NAME: {"cases": n, "failed": n, "worst": share of the bound}}} */
static bool report_json(const suite *s, const char *path)
{
    const sail_device_info *i = &s->devices[0].rt->info;
    FILE *f = fopen(path, "w");
    if (!f) {
        fprintf(stderr, "conformance: %s cannot be written\n", path);
        return false;
    }
    char name[sizeof i->name]; /* quotes and backslashes are none of a driver's business */
    snprintf(name, sizeof name, "%s", i->name);
    for (char *p = name; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = ' ';
    fprintf(f, "{\"device\": \"%s\", \"kind\": \"%s\", \"passed\": %d, \"failed\": %d, \"ops\": {", name, i->kind, s->passed, s->failed);
    const char *comma = "";
    for (int op = 0; op < SAIL_OP_COUNT; op++)
        if (s->count[op]) {
            fprintf(f, "%s\n  \"%s\": {\"cases\": %d, \"failed\": %d, \"worst\": %.4f}", comma, sail_op_name((sail_op)op), s->count[op],
                    s->failures[op], s->worst[op]);
            comma = ",";
        }
    fprintf(f, "}}\n");
    return fclose(f) == 0;
}

int main(int argc, char **argv)
{
    suite *s = calloc(1, sizeof *s);
    const char *backend = "ref", *threads = NULL, *which = NULL, *json = NULL, *options[32];
    int n_options = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--differences"))
            s->differences = true;
        else if (!strcmp(argv[i], "--bench"))
            s->bench = true;
        else if (!strcmp(argv[i], "--verbose"))
            s->verbose = true;
        else if (strncmp(argv[i], "--", 2) != 0 || !value) {
            fprintf(stderr, "conformance: %s: unknown, or without a value\n", argv[i]);
            return 2;
        } else {
            if (!strcmp(argv[i], "--backend"))
                backend = value;
            else if (!strcmp(argv[i], "--device"))
                which = value;
            else if (!strcmp(argv[i], "--ops"))
                s->ops = value;
            else if (!strcmp(argv[i], "--every"))
                s->every = atoi(value) > 0 ? atoi(value) : 1;
            else if (!strcmp(argv[i], "--kinds"))
                s->kinds = atoi(value) > 0 ? atoi(value) : 1;
            else if (!strcmp(argv[i], "--most"))
                s->most = atoll(value);
            else if (!strcmp(argv[i], "--json"))
                json = value;
            else if (!strcmp(argv[i], "--threads"))
                threads = value;
            else if (n_options < 31) {
                char *text = malloc(strlen(argv[i]) + strlen(value) + 2);
                sprintf(text, "%s=%s", argv[i] + 2, value);
                options[n_options++] = text;
            }
            i++;
        }
    }
    s->arena = sail__arena_new();
    if (!device_open(&s->ref, "ref", NULL, NULL, 0))
        return 1;
    do {
        char text[64];
        if (threads) {
            snprintf(text, sizeof text, "threads=%.*s", (int)strcspn(threads, ","), threads);
            options[n_options] = text;
            threads += strcspn(threads, ",");
            threads += *threads == ',';
        }
        device *d = &s->devices[s->n_devices++];
        if (!device_open(d, backend, which, options, n_options + (threads != NULL)))
            return d->code == SAIL_E_OPTION || d->code == SAIL_E_NOTFOUND ? 77 : 1;
    } while (threads && *threads && s->n_devices < MOST_DEVICES);
    matmul_cases(s);
    embed_cases(s);
    elementwise_cases(s);
    norm_cases(s);
    attention_cases(s);
    head_cases(s);
    sample_cases(s);
    optimiser_cases(s);
    if (s->bench)
        bench_cases(s);
    report(s);
    if (s->missing)
        printf("%d cases have no kernel\n", s->missing);
    printf("%d passed, %d failed\n", s->passed, s->failed);
    const bool good = (!json || report_json(s, json)) && s->failed == 0 && s->passed > 0;
    for (int i = 0; i < s->n_devices; i++)
        device_close(&s->devices[i]);
    device_close(&s->ref);
    for (int i = 0; i < n_options; i++)
        free((char *)(uintptr_t)options[i]);
    sail__arena_free(s->arena);
    free(s);
    return good ? 0 : 1;
}
