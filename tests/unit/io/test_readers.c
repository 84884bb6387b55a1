/* The readers of published data sets, packed files, patterns and weights of files, fields by other names. */
#include <lzma.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "data_rig.h"

#define TEXT(r, i, part_, want) assert_string_equal((r).rows[i]->part[part_].text, want)

static void ranked_records_become_pairs(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt\": \"p\", \"responses\": [\"b\", \"a\", \"c\"], \"ranking\": [2, 1, 3]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"scores\": [0.5, 2]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"scores\": [1, 1]}\n";
    sail__rows r = read_text("ranked", "ranked.jsonl", text);
    assert_int_equal(r.n, 2);
    TEXT(r, 0, SAIL_PART_CHOSEN, "a");
    TEXT(r, 0, SAIL_PART_REJECTED, "c");
    assert_true(isnan(r.rows[0]->score[0]));
    TEXT(r, 1, SAIL_PART_CHOSEN, "y");
    assert_true(r.rows[1]->score[0] == 2 && r.rows[1]->score[1] == 0.5);
    assert_int_equal(dropped(&r, "all responses have the same place or score"), 1);
    sail__rows_free(&r);
    r = read_text_with("ranked", "ranked.jsonl", text, (sail__data_options){.pairing = SAIL__DATA_NEIGHBOURS});
    assert_int_equal(r.n, 3);
    TEXT(r, 0, SAIL_PART_REJECTED, "b");
    TEXT(r, 1, SAIL_PART_CHOSEN, "b");
    TEXT(r, 1, SAIL_PART_PROMPT, "p");
    sail__rows_free(&r);
    r = read_text_with("ranked", "ranked.jsonl", text, (sail__data_options){.pairing = SAIL__DATA_ALL});
    assert_int_equal(r.n, 4);
    assert_int_equal(r.records, 5);
    sail__rows_free(&r);
    FAILS("ranked", "few.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"scores\": [1]}", SAIL_E_PARSE,
          "few.jsonl:1", "1 numbers for 2 responses");
    FAILS("ranked", "more.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"ranking\": [1, 2, 3]}", SAIL_E_PARSE,
          "more.jsonl:1", "3 numbers for 2 responses");
    FAILS("ranked", "null.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"ranking\": [1, null]}", SAIL_E_PARSE,
          "null.jsonl:1", "'ranking': item 2 must be a number");
    FAILS("preference", "ranked.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"scores\": [1, 2]}", SAIL_E_PARSE, "the reader `ranked` takes");
    FAILS("preference", "single.jsonl", "{\"prompt\": \"p\", \"completion\": \"x\", \"label\": true}", SAIL_E_PARSE, "the reader `unpaired` takes");
    FAILS("ranked", "none.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"]}", SAIL_E_PARSE, "'ranking' or 'scores' is missing");
    FAILS("ranked", "nan.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"scores\": [1, \"a\"]}", SAIL_E_PARSE,
          "item 2");
    FAILS("ranked", "one.jsonl", "{\"prompt\": \"p\", \"responses\": [\"x\"], \"scores\": [1]}", SAIL_E_PARSE, "two responses or more");
    char many[1200] = "{\"prompt\": \"p\", \"responses\": [";
    for (int i = 0; i < 65; i++)
        sprintf(many + strlen(many), "%s\"r%d\"", i ? ", " : "", i);
    strcat(many, "], \"scores\": [");
    for (int i = 0; i < 65; i++)
        sprintf(many + strlen(many), "%s%d", i ? ", " : "", i);
    strcat(many, "]}");
    FAILS("ranked", "many.jsonl", many, SAIL_E_PARSE, "more than 64 responses");
}

static void of_equals_at_the_end_the_first_is_the_worst(void **state)
{
    (void)state;
    sail__rows r = read_text("ranked", "equal.jsonl", "{\"prompt\": \"p\", \"responses\": [\"low\", \"top\", \"also low\", \"also top\"], "
                                                      "\"scores\": [1, 2, 1, 2]}\n");
    assert_int_equal(r.n, 1);
    TEXT(r, 0, SAIL_PART_CHOSEN, "top");
    TEXT(r, 0, SAIL_PART_REJECTED, "low");
    sail__rows_free(&r);
}

static void ranked_records_become_rankings(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt\": \"p\", \"responses\": [\"b\", \"a\", \"d\", \"c\"], \"ranking\": [2, 1, 7, 4]}\n"
                               "{\"prompt\": [{\"role\": \"user\", \"content\": \"q\"}], \"responses\": [\"x\", \"y\", \"z\"], "
                               "\"scores\": [0.5, 2, -1]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\"], \"scores\": [1, 2]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\", \"z\"], \"scores\": [1, 2, 1]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\", \"x\"], \"scores\": [1, 2, 3]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\", \" \"], \"scores\": [1, 2, 3]}\n"
                               "{\"prompt\": \"p\", \"responses\": [\"x\", \"y\", \"z\"], \"ranking\": [1, 1, 1]}\n";
    const sail__data_options o = {.pairing = SAIL__DATA_RANKING};
    sail__rows r = read_text_with("ranked", "ranking.jsonl", text, o);
    assert_int_equal(r.n, 3);
    assert_int_equal(sail__row_parts(r.rows[0]), 5);
    static const char *const order[] = {"p", "a", "b", "c", "d"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(sail__row_part(r.rows[0], i)->text, order[i]);
    assert_true(isnan(r.rows[0]->score[0]) && isnan(r.rows[0]->behind[1].score));
    assert_string_equal(sail__row_part(r.rows[1], 3)->text, "z");
    assert_true(r.rows[1]->score[0] == 2 && r.rows[1]->score[1] == 0.5 && r.rows[1]->behind[0].score == -1);
    assert_int_equal(sail__row_parts(r.rows[2]), 3); /* two responses are a pair */
    assert_true(r.rows[0]->hash != r.rows[2]->hash);
    assert_int_equal(dropped(&r, "two responses share a place, which no ranking has (data.pairing: all uses the other pairs)"), 1);
    assert_int_equal(dropped(&r, "two responses of a ranking are equal"), 1);
    assert_int_equal(dropped(&r, "empty response"), 1);
    assert_int_equal(dropped(&r, "all responses have the same place or score"), 1);
    sail__rows_free(&r);

    sail_err err;
    const char *nine = write_file("nine.jsonl", "{\"prompt\": \"p\", \"responses\": [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"], "
                                                "\"scores\": [1, 2, 3, 4, 5, 6, 7, 8, 9]}");
    assert_int_equal(load("ranked", nine, o, NULL, &r, &err), SAIL_E_PARSE);
    assert_non_null(strstr(err.message, "nine.jsonl:1"));
    assert_non_null(strstr(err.message, "9 responses are too many for data.pairing: ranking, which takes 8"));
}

static void pku_saferlhf_chooses_the_better_or_the_safer(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt\": \"q\", \"response_0\": \"a\", \"response_1\": \"b\", \"is_response_0_safe\": false, "
                               "\"is_response_1_safe\": true, \"better_response_id\": 0, \"safer_response_id\": 1}\n"
                               "{\"prompt\": \"q\", \"response_0\": \"c\", \"response_1\": \"d\", \"is_response_0_safe\": true, "
                               "\"is_response_1_safe\": true, \"better_response_id\": 1, \"safer_response_id\": 1}\n";
    sail__rows r = read_text("pku-saferlhf", "pku.jsonl", text);
    assert_int_equal(r.n, 2);
    MESSAGES(&r.rows[0]->part[SAIL_PART_PROMPT], 1, "user", "q");
    MESSAGES(&r.rows[0]->part[SAIL_PART_CHOSEN], 1, "assistant", "a");
    MESSAGES(&r.rows[0]->part[SAIL_PART_REJECTED], 1, "assistant", "b");
    sail__rows_free(&r);
    r = read_text("{\"kind\": \"pku-saferlhf\", \"preference\": \"safer\", \"form\": \"authors\", \"one_safe\": true}",
                  "pku.jsonl", text);
    assert_int_equal(r.n, 1);
    TEXT(r, 0, SAIL_PART_PROMPT, "Human: q\n\nAssistant: ");
    TEXT(r, 0, SAIL_PART_CHOSEN, "b");
    assert_int_equal(dropped(&r, "both responses are safe"), 1);
    sail__rows_free(&r);
    FAILS("pku-saferlhf", "bad.jsonl",
          "{\"prompt\": \"q\", \"response_0\": \"a\", \"response_1\": \"b\", \"better_response_id\": 2}", SAIL_E_PARSE,
          "bad.jsonl:1", "'better_response_id' must be 0 or 1");
}

static void ultrafeedback_takes_the_extremes_of_four_or_ranks_them(void **state)
{
    (void)state;
    static const char text[] = "{\"instruction\": \"i\", \"completions\": [{\"response\": \"a\", \"overall_score\": 7, "
                               "\"annotations\": {\"honesty\": {\"Rating\": \"1\"}}}, "
                               "{\"response\": \"b\", \"overall_score\": \"8.5\", \"annotations\": {\"honesty\": {\"Rating\": "
                               "\"2\"}}}, {\"response\": \"c\", \"overall_score\": 3, "
                               "\"annotations\": {\"honesty\": {\"Rating\": \"5\"}, \"helpfulness\": {\"Rating\": \"N/A\"}}}, "
                               "{\"response\": \"d\", \"overall_score\": 8.5, "
                               "\"annotations\": {\"honesty\": {\"Rating\": \"3\"}}}]}\n"
                               "{\"instruction\": \"i\", \"completions\": [{\"response\": \"a\", \"overall_score\": 7}]}\n"
                               "{\"instruction\": \"i\", \"completions\": [{\"response\": \"a\", \"overall_score\": 7}, "
                               "{\"response\": \"b\", \"overall_score\": 7}, "
                               "{\"response\": \"c\", \"overall_score\": 7}, {\"response\": \"d\", \"overall_score\": 7}]}\n"
                               "{\"prompt\": \"i\", \"chosen\": [{\"role\": \"user\", \"content\": \"i\"}, {\"role\": "
                               "\"assistant\", \"content\": \"good\"}], \"rejected\": "
                               "[{\"role\": \"user\", \"content\": \"i\"}, {\"role\": \"assistant\", \"content\": \"bad\"}], "
                               "\"score_chosen\": 8, \"score_rejected\": 2}\n";
    sail__rows r = read_text("ultrafeedback", "ultra.jsonl", text);
    assert_int_equal(r.n, 2);
    MESSAGES(&r.rows[0]->part[SAIL_PART_CHOSEN], 1, "assistant", "b");
    MESSAGES(&r.rows[0]->part[SAIL_PART_REJECTED], 1, "assistant", "c");
    assert_true(r.rows[0]->score[0] == 8.5 && r.rows[0]->score[1] == 3);
    MESSAGES(&r.rows[1]->part[SAIL_PART_PROMPT], 1, "user", "i");
    MESSAGES(&r.rows[1]->part[SAIL_PART_REJECTED], 1, "assistant", "bad");
    assert_int_equal(dropped(&r, "another number of completions"), 1);
    assert_int_equal(dropped(&r, "all responses have the same place or score"), 1);
    sail__rows_free(&r);
    r = read_text_with("{\"kind\": \"ultrafeedback\", \"by\": \"ratings\", \"form\": \"authors\"}", "ultra.jsonl", text,
                       (sail__data_options){.pairing = SAIL__DATA_RANKING});
    assert_int_equal(r.n, 2);
    assert_int_equal(sail__row_parts(r.rows[0]), 5);
    static const char *const order[] = {"[INST] i [/INST] ", "c", "d", "b", "a"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(sail__row_part(r.rows[0], i)->text, order[i]);
    assert_true(r.rows[0]->behind[1].score == 1);
    sail__rows_free(&r);
    r = read_text("{\"kind\": \"ultrafeedback\", \"by\": \"ratings\", \"form\": \"authors\"}", "ultra.jsonl", text);
    TEXT(r, 0, SAIL_PART_PROMPT, "[INST] i [/INST] ");
    TEXT(r, 0, SAIL_PART_CHOSEN, "c");
    TEXT(r, 0, SAIL_PART_REJECTED, "a");
    sail__rows_free(&r);
}

static void webgpt_and_summaries_are_read(void **state)
{
    (void)state;
    sail__rows r = read_text(
        "webgpt", "webgpt.jsonl",
        "{\"question\": {\"full_text\": \"q\"}, \"answer_0\": \"a\", \"answer_1\": \"b\", \"score_0\": -1, \"score_1\": 0.5}\n"
        "{\"question\": {\"full_text\": \"q\"}, \"answer_0\": \"a\", \"answer_1\": \"b\", \"score_0\": 0, \"score_1\": 0}\n");
    assert_int_equal(r.n, 1);
    MESSAGES(&r.rows[0]->part[SAIL_PART_CHOSEN], 1, "assistant", "b");
    assert_true(r.rows[0]->score[0] == 0.5 && r.rows[0]->score[1] == -1);
    assert_int_equal(dropped(&r, "both answers have the same score"), 1);
    sail__rows_free(&r);
    r = read_text("summarize-from-feedback", "tldr.jsonl",
                  "{\"info\": {\"post\": \"P\", \"title\": \"T\", \"subreddit\": \"s\"}, \"summaries\": [{\"text\": \" x\"}, "
                  "{\"text\": \"y\"}], \"choice\": 1}\n"
                  "{\"info\": {\"article\": \"A\", \"title\": \"T\"}, \"summaries\": [{\"text\": \" x\"}, {\"text\": \"y\"}], "
                  "\"choice\": 0}\n");
    assert_int_equal(r.n, 2);
    TEXT(r, 0, SAIL_PART_PROMPT, "SUBREDDIT: r/s\nTITLE: T\nPOST: P\nTL;DR:");
    TEXT(r, 0, SAIL_PART_CHOSEN, " y");
    TEXT(r, 0, SAIL_PART_REJECTED, " x");
    TEXT(r, 1, SAIL_PART_PROMPT, "TITLE: T\nARTICLE: A\nTL;DR:");
    TEXT(r, 1, SAIL_PART_CHOSEN, " x");
    sail__rows_free(&r);
    FAILS("summarize-from-feedback", "axis.jsonl", "{\"info\": {\"post\": \"P\"}, \"summary\": {}}", SAIL_E_PARSE, "axis.jsonl:1",
          "comparisons");
}

static void conversations_of_sharegpt_are_read(void **state)
{
    (void)state;
    static const char text[] =
        "{\"system\": \"S\", \"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"gpt\", \"value\": \"g\"}, "
        "{\"from\": \"observation\", \"value\": \"o\"}, {\"from\": \"gpt\", \"value\": \"end\"}]}\n";
    sail__rows r = read_text("sft", "share.jsonl", text);
    assert_int_equal(r.n, 1);
    MESSAGES(&r.rows[0]->part[SAIL_PART_PROMPT], 4, "system", "S", "user", "h", "assistant", "g", "tool", "o");
    MESSAGES(&r.rows[0]->part[SAIL_PART_CHOSEN], 1, "assistant", "end");
    sail__rows_free(&r);
    r = read_text("preference", "pairs.jsonl",
                  "{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}], \"chosen\": {\"from\": \"gpt\", \"value\": "
                  "\"c\"}, \"rejected\": "
                  "{\"from\": \"gpt\", \"value\": \"r\"}}\n");
    assert_int_equal(r.n, 1);
    MESSAGES(&r.rows[0]->part[SAIL_PART_PROMPT], 1, "user", "h");
    MESSAGES(&r.rows[0]->part[SAIL_PART_REJECTED], 1, "assistant", "r");
    sail__rows_free(&r);
    r = read_text("prompts", "prompts.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}]}\n");
    MESSAGES(&r.rows[0]->part[SAIL_PART_PROMPT], 1, "user", "h");
    sail__rows_free(&r);
}

/* ---- files ---- */

static void pack(const char *name, const char *text, size_t keep)
{
    char path[256];
    size_t n = strlen(text), out = 0, cap = 1 << 16;
    unsigned char *packed = sail__malloc(cap);
    sail_err err = {0};
    if (strstr(name, ".gz")) /* two members, one behind the other */
        for (int half = 0; half < 2; half++) {
            z_stream z = {0};
            assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
            z.next_in = (unsigned char *)(uintptr_t)text + (half ? n / 2 : 0);
            z.avail_in = (unsigned)(half ? n - n / 2 : n / 2);
            z.next_out = packed + out;
            z.avail_out = (unsigned)(cap - out);
            assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
            out += z.total_out;
            deflateEnd(&z);
        }
    else if (strstr(name, ".zst")) /* two frames, one behind the other */
        for (int half = 0; half < 2; half++) {
            ZSTD_CCtx *z = ZSTD_createCCtx();
            assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)));
            const size_t part = ZSTD_compress2(z, packed + out, cap - out, text + (half ? n / 2 : 0), half ? n - n / 2 : n / 2);
            assert_false(ZSTD_isError(part));
            out += part;
            ZSTD_freeCCtx(z);
        }
    else
        assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (const uint8_t *)text, n, packed, &out, cap),
                         LZMA_OK);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(sail__file_write(path, packed, keep ? keep : out, &err), SAIL_OK);
    sail__free(packed);
}

static void packed_files_are_read(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt\": \"first\"}\n{\"prompt\": \"second\"}\n";
    static const char *const names[] = {"a.jsonl.zst", "a.jsonl.xz", "a.jsonl.gz"};
    for (int i = 0; i < 3; i++) {
        sail__rows r;
        sail_err err;
        char path[256];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        pack(names[i], text, 0);
        if (load("prompts", path, (sail__data_options){0}, NULL, &r, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        assert_int_equal(r.n, 2);
        TEXT(r, 1, SAIL_PART_PROMPT, "second");
        sail__rows_free(&r);
        char *bytes, from[32]; /* a pipe, whose bytes come once, may be packed as a file may */
        size_t n;
        int ends[2];
        assert_int_equal(sail__file_read(path, 1 << 20, &bytes, &n, &err), SAIL_OK);
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(write(ends[1], bytes, n), (ssize_t)n); /* a few: the pipe holds them */
        close(ends[1]);
        sail__free(bytes);
        snprintf(from, sizeof from, "/dev/fd/%d", ends[0]);
        if (load("prompts", from, (sail__data_options){0}, NULL, &r, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        close(ends[0]);
        TEXT(r, 1, SAIL_PART_PROMPT, "second");
        sail__rows_free(&r);
        pack(names[i], text, 30); /* cut off */
        assert_int_equal(load("prompts", path, (sail__data_options){0}, NULL, &r, &err), SAIL_E_FORMAT);
        assert_non_null(strstr(err.message, "ends too early"));
        pack(names[i], text, 0);
        char *data;
        size_t size;
        assert_int_equal(sail__file_read(path, 1 << 20, &data, &size, &err), SAIL_OK);
        data[size / 2] ^= 0x55;
        data[size / 2 + 1] ^= 0x55;
        assert_int_equal(sail__file_write(path, data, size, &err), SAIL_OK);
        sail__free(data);
        assert_int_equal(load("prompts", path, (sail__data_options){0}, NULL, &r, &err), SAIL_E_FORMAT);
    }
}

/* Nothing that stands behind the last member is passed over in silence. */
static void what_follows_gzip_is_told(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt\": \"first\"}\n{\"prompt\": \"second\"}\n", more[] = "{\"prompt\": \"third\"}\n";
    char path[256], *data;
    size_t size;
    sail__rows r;
    sail_err err = {0};
    snprintf(path, sizeof path, "%s/tail.jsonl.gz", dir);
    for (int zeros = 0; zeros < 2; zeros++) {
        pack("tail.jsonl.gz", text, 0);
        assert_int_equal(sail__file_read(path, 1 << 20, &data, &size, &err), SAIL_OK);
        char *longer = sail__calloc(1, size + sizeof more);
        memcpy(longer, data, size);
        if (!zeros)
            memcpy(longer + size, more, sizeof more);
        assert_int_equal(sail__file_write(path, longer, size + sizeof more - 1, &err), SAIL_OK);
        sail__free(longer);
        sail__free(data);
        sail_code code = load("prompts", path, (sail__data_options){0}, NULL, &r, &err);
        if (zeros) {
            assert_int_equal(code, SAIL_OK);
            assert_int_equal(r.n, 2);
            sail__rows_free(&r);
        } else {
            assert_int_equal(code, SAIL_E_FORMAT);
            assert_non_null(strstr(err.message, "what follows"));
        }
    }
}

static sail__data_options files_of(sail_arena *a, const char *json, sail_code want, const char *says)
{
    sail_node *n;
    sail_err err = {0};
    sail__data_options o = {0};
    assert_int_equal(sail__json_parse(a, json, strlen(json), "recipe", 1, &n, &err), SAIL_OK);
    sail_code code = sail__data_files(a, n, "data.train", &o, &err);
    if (code != want || (says && !strstr(err.message, says)))
        fail_msg("%s: '%s'", json, err.message);
    return o;
}

static void files_have_patterns_and_weights(void **state)
{
    (void)state;
    sail_arena *a = sail__arena_new();
    char json[1024];
    write_file("p1.json", "[]");
    write_file("p2.json", "[]");
    snprintf(json, sizeof json, "[\"%s/p?.json\", {\"path\": \"%s/p1.json\", \"weight\": 2.5}]", dir, dir);
    sail__data_options o = files_of(a, json, SAIL_OK, NULL);
    assert_int_equal(o.n_paths, 3);
    assert_non_null(strstr(o.paths[0], "p1.json"));
    assert_non_null(strstr(o.paths[1], "p2.json"));
    assert_true(o.weights[0] == 1 && o.weights[2] == 2.5);
    snprintf(json, sizeof json, "\"%s/q*.json\"", dir);
    files_of(a, json, SAIL_E_NOTFOUND, "no file has a name like");
    files_of(a, "{\"path\": \"x\", \"weigth\": 2}", SAIL_E_RECIPE, "did you mean 'weight'");
    files_of(a, "{\"path\": \"x\", \"weight\": 0}", SAIL_E_RECIPE, "between 0 and 1000");
    files_of(a, "{\"weight\": 1}", SAIL_E_RECIPE, "no path");
    files_of(a, "[]", SAIL_E_RECIPE, "empty list");
    sail__arena_free(a);
}

static void a_weight_is_how_often_a_row_counts(void **state)
{
    (void)state;
    sail_buf b = {0};
    for (int i = 0; i < 2000; i++)
        sail__buf_printf(&b, "{\"prompt\": \"%d\"}\n", i);
    const char *path = write_file("many.jsonl", b.data);
    static const double weights[] = {0.25, 1, 2.5};
    for (int i = 0; i < 3; i++) {
        sail__rows r, again;
        sail_err err;
        sail__data_options o = {.weights = &weights[i]};
        assert_int_equal(load("prompts", path, o, NULL, &r, &err), SAIL_OK);
        double share = (double)r.n / 2000;
        if (fabs(share - weights[i]) > 0.06) /* six standard deviations of the fraction's draw */
            fail_msg("weight %g gave %g", weights[i], share);
        assert_int_equal(load("prompts", path, o, NULL, &again, &err), SAIL_OK);
        assert_int_equal(again.n, r.n);
        for (size_t k = 0; k < r.n; k++)
            assert_int_equal(again.rows[k]->line, r.rows[k]->line);
        sail__rows_free(&r);
        sail__rows_free(&again);
    }
    sail__buf_free(&b);
}

static void fields_have_other_names(void **state)
{
    (void)state;
    sail_arena *a = sail__arena_new();
    sail_node *fields;
    sail_err err = {0};
    sail__rows r;
    static const char names[] =
        "{\"prompt\": [\"instruction\", \"input\"], \"chosen\": \"out.good\", \"rejected\": \"out.bad.0\"}";
    assert_int_equal(sail__json_parse(a, names, sizeof names - 1, "recipe", 1, &fields, &err), SAIL_OK);
    assert_int_equal(sail__data_check_fields(fields, &err), SAIL_OK);
    const char *path = write_file(
        "alpaca.jsonl",
        "{\"instruction\": \"i\", \"input\": \"more\", \"out\": {\"good\": \"g\", \"bad\": [\"b\"]}}\n"
        "{\"instruction\": \"i\", \"input\": \"\", \"out\": {\"good\": \"g\", \"bad\": [\"b\"]}, \"prompt\": \"x\"}\n");
    assert_int_equal(load("preference", path, (sail__data_options){.fields = fields}, NULL, &r, &err), SAIL_OK);
    assert_int_equal(r.n, 2);
    TEXT(r, 0, SAIL_PART_PROMPT, "i\n\nmore");
    TEXT(r, 0, SAIL_PART_CHOSEN, "g");
    TEXT(r, 0, SAIL_PART_REJECTED, "b");
    TEXT(r, 1, SAIL_PART_PROMPT, "i");
    sail__rows_free(&r);
    static const char slip[] = "{\"prompt\": \"instrution\", \"chosen\": \"out.good\", \"rejected\": \"out.bad.0\"}";
    assert_int_equal(sail__json_parse(a, slip, sizeof slip - 1, "recipe", 1, &fields, &err), SAIL_OK);
    path = write_file("slip.jsonl", "{\"prompt\": \"x\", \"out\": {\"good\": \"g\", \"bad\": [\"b\"]}}\n");
    assert_int_equal(load("preference", path, (sail__data_options){.fields = fields}, NULL, &r, &err), SAIL_E_RECIPE);
    assert_non_null(strstr(err.message, "has `instrution`, which was to be read as `prompt`"));
    /* what the reader lacks for it is told with it, and what the record has */
    path = write_file("lacks.jsonl", "{\"question\": \"x\", \"out\": {\"good\": \"g\", \"bad\": [\"b\"]}}\n");
    assert_int_equal(load("preference", path, (sail__data_options){.fields = fields}, NULL, &r, &err), SAIL_E_PARSE);
    assert_non_null(strstr(err.message, "lacks.jsonl:1: 'prompt' is missing: the record has no `instrution` (for `prompt`), which data.fields names; it has "
                                        "question, out"));
    /* not only at the end of a long file, but what few records have is waited for */
    static const char both[] = "{\"prompt\": \"instrution\", \"chosen\": \"g\", \"rejected\": \"b\"}",
                      rare[] = "{\"score_chosen\": \"points\", \"chosen\": \"g\", \"rejected\": \"b\"}";
    sail_buf b = {0};
    for (int i = 0; i < 150; i++)
        sail__buf_printf(&b, "{\"prompt\": \"x%d\", \"g\": \"good\", \"b\": \"bad\"}\n", i);
    sail__buf_str(&b, "{\"prompt\": \"y\", \"g\": \"good\", \"b\": \"bad\", \"points\": 3}\nno JSON\n");
    path = write_file("long.jsonl", b.data);
    assert_int_equal(sail__json_parse(a, both, sizeof both - 1, "recipe", 1, &fields, &err), SAIL_OK);
    assert_int_equal(load("preference", path, (sail__data_options){.fields = fields}, NULL, &r, &err), SAIL_E_RECIPE);
    assert_non_null(strstr(err.message, "no record of the beginning of"));
    assert_int_equal(sail__json_parse(a, rare, sizeof rare - 1, "recipe", 1, &fields, &err), SAIL_OK);
    assert_int_equal(load("preference", path, (sail__data_options){.fields = fields, .on_bad_row = SAIL__BAD_ROW_SKIP}, NULL, &r, &err), SAIL_OK);
    assert_int_equal(r.n, 151);
    sail__rows_free(&r);
    sail__buf_free(&b);
    static const char wrong[] = "{\"prompt\": 3}";
    assert_int_equal(sail__json_parse(a, wrong, sizeof wrong - 1, "recipe", 1, &fields, &err), SAIL_OK);
    assert_int_equal(sail__data_check_fields(fields, &err), SAIL_E_RECIPE);
    sail__arena_free(a);
}

static void a_lack_of_memory_loses_no_row(void **state)
{
    (void)state;
    sail_arena *a = sail__arena_new();
    sail_node *fields;
    sail_err err = {0};
    static const char names[] = "{\"prompt\": [\"instruction\", \"input\"]}";
    assert_int_equal(sail__json_parse(a, names, sizeof names - 1, "recipe", 1, &fields, &err), SAIL_OK);
    const char *path = write_file("lack.jsonl", "{\"instruction\": \"i\", \"input\": \"more\", \"chosen\": \"g\", \"rejected\": \"b\"}\n"
                                                "{\"instruction\": \"j\", \"input\": \"less\", \"chosen\": \"g\", \"rejected\": \"b\"}\n");
    sail_slot slot = reader_named(a, "preference");
    const sail__data_options o = {
        .paths = &path, .n_paths = 1, .reader = &slot, .fields = fields, .on_bad_row = SAIL__BAD_ROW_SKIP};
    int failed = 0;
    for (long k = 1, left = 0; !left; k++) {
        sail__rows r;
        sail__alloc_fail_at(k);
        const sail_code code = sail__rows_load(&o, NULL, &r, &err);
        left = sail__alloc_fail_at(0);
        failed += code == SAIL_E_NOMEM;
        assert_true(code == SAIL_OK || (code == SAIL_E_NOMEM && !left));
        if (code != SAIL_OK)
            continue;
        assert_int_equal(r.n, 2);
        TEXT(r, 1, SAIL_PART_PROMPT, "j\n\nless");
        sail__rows_free(&r);
    }
    assert_true(failed > 20);
    sail__arena_free(a);
}

/* A hundred thousand messages, and a record that is too long: time and memory stay small. */
static void large_records_are_bounded(void **state)
{
    (void)state;
    sail_buf b = {0};
    sail__buf_str(&b, "{\"messages\": [");
    for (int i = 0; i < 100000; i++)
        sail__buf_printf(&b, "%s{\"role\": \"user\", \"content\": \"x\"}", i ? "," : "");
    sail__buf_str(&b, "]}\n");
    sail__rows r = read_text("prompts", "long.jsonl", b.data);
    assert_int_equal(r.rows[0]->part[SAIL_PART_PROMPT].n_messages, 100000);
    sail__rows_free(&r);
    b.len = 0;
    sail__buf_str(&b, "{\"prompt\": \"");
    while (b.len < 9 << 20)
        sail__buf_str(&b, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    sail__buf_str(&b, "\"}\n");
    FAILS("prompts", "huge.jsonl", b.data, SAIL_E_LIMIT, "huge.jsonl:1", "more than 8 MiB");
    sail__buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranked_records_become_pairs),
        cmocka_unit_test(of_equals_at_the_end_the_first_is_the_worst),
        cmocka_unit_test(ranked_records_become_rankings),
        cmocka_unit_test(pku_saferlhf_chooses_the_better_or_the_safer),
        cmocka_unit_test(ultrafeedback_takes_the_extremes_of_four_or_ranks_them),
        cmocka_unit_test(webgpt_and_summaries_are_read),
        cmocka_unit_test(conversations_of_sharegpt_are_read),
        cmocka_unit_test(packed_files_are_read),
        cmocka_unit_test(what_follows_gzip_is_told),
        cmocka_unit_test(files_have_patterns_and_weights),
        cmocka_unit_test(a_weight_is_how_often_a_row_counts),
        cmocka_unit_test(fields_have_other_names),
        cmocka_unit_test(a_lack_of_memory_loses_no_row),
        cmocka_unit_test(large_records_are_bounded),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
