/* replay.c - a fuzz target without libFuzzer: every file of the folders named, as it is and damaged in ways that are the same in every
 * run. usage: fuzz_NAME_replay FOLDER… A target aborts where something is wrong; the file in hand is then the last one named. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS = 16, BYTES = 48 };

/* A copy that is just as long as what it holds, so that a sanitizer sees one byte too many. */
static void give(const char *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput((const uint8_t *)copy, size);
    free(copy);
}

static void damage(char *data, size_t size)
{
    uint32_t state = 2463534242u;
    for (size_t i = 0; i < CUTS; i++)
        give(data, size * i / CUTS);
    for (int i = 0; i < BYTES; i++) {
        state = state * 1664525u + 1013904223u;
        char *at = data + (size_t)(state >> 8) % size, was = *at;
        *at = (char)(state >> 3);
        give(data, size);
        *at = was;
    }
}

static bool replay(sail_arena *a, const char *dir, size_t *files)
{
    char **names = NULL;
    size_t n = 0;
    sail_err err = {0};
    if (sail__list_dir(a, dir, &names, &n, &err) != SAIL_OK) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    for (size_t i = 0; i < n; i++, ++*files) {
        char *data = NULL;
        size_t size = 0;
        const char *path = sail__path_join(a, dir, names[i]);
        fprintf(stderr, "%s\n", path ? path : "?");
        if (!path || sail__file_read(path, 1 << 24, &data, &size, &err) != SAIL_OK) {
            fprintf(stderr, "%s\n", err.message);
            return false;
        }
        give(data, size);
        if (size)
            damage(data, size);
        sail__free(data);
    }
    return true;
}

int main(int argc, char **argv)
{
    size_t files = 0;
    sail_arena *a = sail__arena_new();
    bool ok = a && argc > 1;
    for (int i = 1; ok && i < argc; i++)
        ok = replay(a, argv[i], &files);
    sail__arena_free(a);
    if (ok && files == 0)
        fprintf(stderr, "there is not one file to run\n");
    printf("%zu files, each as it is and damaged in %d ways\n", files, CUTS + BYTES);
    return ok && files ? 0 : 1;
}
