/* fuzz_jsonl.c - any bytes as a data file: rows through the readers that come with sail, or an error that names a place.
 * The first byte chooses the reader, what a bad row does, fields and weights; the rest is the file (JSONL, a list, or either
 * packed). */
#include "fuzz.h"
#include "io/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The plugins' own sources, linked in (see meson.build). */
#define READERS(R)                                                                                                               \
    R(preference)                                                                                                                \
    R(prompts) R(sft) R(hh_rlhf) R(unpaired) R(ranked) R(pku_saferlhf) R(ultrafeedback) R(webgpt) R(summarize_from_feedback)
#define DECLARE(name) const sail_plugin *sail_plugin_query_SAIL_KIND_DATASET_##name(void);
READERS(DECLARE)

static void read_parts(const sail_row *row)
{
    sail_buf text = {0};
    volatile unsigned sum = 0;
    for (size_t p = 0; p < sail__row_parts(row); p++) {
        const sail__part *part = sail__row_part(row, p);
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
#define QUERY(name) sail_plugin_query_SAIL_KIND_DATASET_##name,
    static sail_plugin_query_fn *const readers[] = {READERS(QUERY)};
    static const double weights[] = {2.5};
    char path[64];
    if (!size)
        return 0;
    const int fd = fuzz_file(data + 1, size - 1, path);
    sail_arena *a = sail__arena_new();
    sail_problems problems = {.arena = a};
    sail_loaded loaded = {.plugin = *readers[(data[0] & 15) % (sizeof readers / sizeof *readers)](), .path = "fuzz"};
    void *options = sail__arena_alloc(a, loaded.plugin.opts_size + 1);
    loaded.ops = loaded.plugin.ops;
    if (loaded.plugin.opts)
        sail__opt_parse(loaded.plugin.opts, NULL, "", NULL, NULL, NULL, options, &problems);
    sail_slot slot = {.loaded = &loaded, .options = options};
    const char *paths[] = {path};
    sail_node *fields = NULL;
    sail_err err = {0};
    static const char names[] = "{\"prompt\": [\"instruction\", \"input\"], \"chosen\": \"out.0.text\"}";
    if (data[0] & 32 && sail__json_parse(a, names, sizeof names - 1, "fuzz", 1, &fields, &err) != SAIL_OK)
        abort();
    read_file(&(sail__data_options){.paths = paths,
                                    .n_paths = 1,
                                    .reader = &slot,
                                    .fields = fields,
                                    .weights = data[0] & 64 ? weights : NULL,
                                    .pairing = data[0] & 128 ? SAIL__DATA_RANKING : SAIL__DATA_ALL,
                                    .on_bad_row = data[0] & 16 ? SAIL__BAD_ROW_SKIP : SAIL__BAD_ROW_ERROR});
    sail__arena_free(a);
    close(fd);
    return 0;
}
