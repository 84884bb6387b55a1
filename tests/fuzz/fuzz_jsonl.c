/* fuzz_jsonl.c - any bytes as a data file: rows through the readers that come with sail, or an error that names a place.
 * The first byte chooses the reader and what a bad row does; the rest is the file (JSONL, a list, or either in gzip). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The plugins' own sources, linked in (see meson.build). */
const sail_plugin *sail_plugin_query_SAIL_KIND_DATASET_preference(void);
const sail_plugin *sail_plugin_query_SAIL_KIND_DATASET_prompts(void);
const sail_plugin *sail_plugin_query_SAIL_KIND_DATASET_sft(void);
const sail_plugin *sail_plugin_query_SAIL_KIND_DATASET_hh_rlhf(void);

static void read_parts(const sail_row *row)
{
    sail_buf text = {0};
    volatile unsigned sum = 0;
    for (int p = 0; p < SAIL_PART_COUNT; p++) {
        const sail__part *part = &row->part[p];
        for (size_t i = 0; part->text && i < part->len; i++)
            sum = sum + (unsigned char)part->text[i];
        for (size_t i = 0; i < part->n_ids; i++)
            sum = sum + (unsigned)part->ids[i];
    }
    sail__row_conversation(row, &text);
    if (!sail__row_last_user(row) || row->dropped || row->line < 1)
        abort();
    sail__buf_free(&text);
}

static void read_file(const sail__data_options *o)
{
    sail_err err = {0};
    sail__source *s;
    sail_row *row = NULL;
    sail_buf told = {0};
    if (sail__source_open(o, &s, &err) != SAIL_OK)
        abort();
    for (;;) {
        sail_arena *a = sail__arena_new();
        sail_code code = sail__source_next(s, a, &row, &err);
        if (code == SAIL_OK && row)
            read_parts(row);
        sail__arena_free(a);
        if (code != SAIL_OK && !err.message[0])
            abort();
        if (code != SAIL_OK || !row)
            break;
    }
    sail__drops_print(sail__source_drops(s), sail__source_records(s), &told);
    sail__buf_free(&told);
    sail__source_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sail_plugin_query_fn *const readers[] = {
        sail_plugin_query_SAIL_KIND_DATASET_preference, sail_plugin_query_SAIL_KIND_DATASET_prompts,
        sail_plugin_query_SAIL_KIND_DATASET_sft, sail_plugin_query_SAIL_KIND_DATASET_hh_rlhf};
    char path[64];
    if (!size)
        return 0;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)(size - 1))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    sail_arena *a = sail__arena_new();
    sail_problems problems = {.arena = a};
    sail_loaded loaded = {.plugin = *readers[data[0] & 3](), .path = "fuzz"};
    void *options = sail__arena_alloc(a, loaded.plugin.opts_size + 1);
    loaded.ops = loaded.plugin.ops;
    if (loaded.plugin.opts)
        sail__opt_parse(loaded.plugin.opts, NULL, "", NULL, NULL, NULL, options, &problems);
    sail_slot slot = {.loaded = &loaded, .options = options};
    const char *paths[] = {path};
    read_file(&(sail__data_options){.paths = paths, .n_paths = 1, .reader = &slot,
                                    .on_bad_row = data[0] & 4 ? SAIL__BAD_ROW_SKIP : SAIL__BAD_ROW_ERROR});
    sail__arena_free(a);
    close(fd);
    return 0;
}
