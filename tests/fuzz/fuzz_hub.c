/* fuzz_hub.c - any JSON as what a hub says of a repository: an error, or files that lie below the directory they are put into, each with a
 * hash. The first line is the Link header, the rest the answer. */
#include <stdlib.h>
#include <string.h>

#include "io/hub_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const sail__hub_file *f)
{
    char up[] = "/../";
    char *path = malloc(strlen(f->path) + 3);
    if (!path)
        abort();
    path[0] = '/';
    strcpy(path + 1, f->path);
    strcat(path, "/");
    if (strstr(path, up) || strstr(path, "/./") || strstr(path, "//") || strpbrk(path, "\\\n\r\t\33"))
        abort();
    free(path);
    if (strlen(f->hash) != (f->kind == SAIL_SHA256 ? 64 : 40) || strspn(f->hash, "0123456789abcdef") != strlen(f->hash) || f->size > INT64_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sail_err err = {0};
    sail_arena *a = sail__arena_new();
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    const size_t n_link = line ? (size_t)(line - data) : 0;
    const char *link = sail__arena_strndup(a, (const char *)data, n_link), *next = link ? sail__hub_next_page(a, link) : NULL, *commit;
    sail_node *page;
    sail__hub_file *files = NULL;
    size_t n = 0, cap = 0;
    if (next && strlen(next) >= n_link)
        abort();
    if (line)
        data += n_link + 1, size -= n_link + 1;
    if (sail__json_parse(a, (const char *)data, size, "fuzz", 1, &page, &err) == SAIL_OK) {
        if (sail__hub_page_commit("fuzz", page, &commit, &err) == SAIL_OK && strspn(commit, "0123456789abcdef") != 40)
            abort();
        if (sail__hub_page("fuzz", page, &files, &n, &cap, &err) != SAIL_OK && !err.message[0])
            abort();
        for (size_t i = 0; i < n; i++)
            check(&files[i]);
    }
    sail__free(files);
    sail__arena_free(a);
    return 0;
}
