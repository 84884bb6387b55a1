/* bench_tokenizer.c - encoding speed of one thread: bench_tokenizer TOKENIZER FILE [ROUNDS]. The text goes through line by line
 * and as a whole, and a megabyte of one letter, of one word and of spaces. Prints the best round of each, CPU time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/tokenizer.h"

static double cpu_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const sail_err *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

/* Tokens of the text in pieces of a line each, or in one. */
static size_t encode(const sail__tokenizer *t, sail__token_scratch *s, const char *text, size_t n, bool lines, sail__ids *ids)
{
    sail_err err = {0};
    size_t total = 0;
    for (size_t at = 0; at < n;) {
        const char *end = lines ? memchr(text + at, '\n', n - at) : NULL;
        size_t to = end ? (size_t)(end - text) + 1 : n;
        ids->n = 0;
        if (sail__encode(t, s, text + at, to - at, 0, ids, &err) != SAIL_OK)
            die(&err);
        total += ids->n;
        at = to;
    }
    return total;
}

static void measure(const sail__tokenizer *t, const char *what, const char *text, size_t n, bool lines, int rounds)
{
    sail__ids ids = {0};
    double best = 1e9;
    size_t tokens = 0;
    for (int i = 0; i < rounds; i++) {
        sail__token_scratch *s = sail__token_scratch_new(t); /* a cold cache each time */
        double began = cpu_time();
        tokens = encode(t, s, text, n, lines, &ids);
        double took = cpu_time() - began;
        best = took < best ? took : best;
        sail__token_scratch_free(s);
    }
    printf("%-12s %8.2f MB  %9zu tokens  %7.2f MB/s\n", what, (double)n * 1e-6, tokens, (double)n * 1e-6 / best);
    sail__ids_free(&ids);
}

int main(int argc, char **argv)
{
    sail_err err = {0};
    sail__tokenizer *t;
    char *text = NULL;
    size_t size = 0;
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenizer TOKENIZER FILE [ROUNDS]\n");
        return 2;
    }
    double began = cpu_time();
    if (sail__tokenizer_open(argv[1], &t, &err) != SAIL_OK || sail__file_read(argv[2], 1 << 30, &text, &size, &err) != SAIL_OK)
        die(&err);
    printf("loaded in %.3f s\n", cpu_time() - began);
    measure(t, "lines", text, size, true, rounds);
    measure(t, "whole", text, size, false, rounds);
    sail__free(text);
    enum { MEGABYTE = 1000000 };
    static const char *const units[] = {"a", "word", " ", "\n", "!", "\xC3\xA9", "1", "\xE4\xBD\xA0"};
    text = sail__malloc(MEGABYTE + 8);
    for (size_t i = 0; text && i < sizeof units / sizeof *units; i++) {
        size_t n = strlen(units[i]), len = MEGABYTE / n * n;
        char what[32];
        for (size_t k = 0; k < len; k += n)
            memcpy(text + k, units[i], n);
        snprintf(what, sizeof what, "1 MB of '%s'", *units[i] == '\n' ? "\\n" : units[i]);
        measure(t, what, text, len, false, 1);
    }
    sail__free(text);
    sail__tokenizer_free(t);
    return 0;
}
