/* Data readers: what becomes a row, what is dropped and counted, what is an error and where. */
#include "data_rig.h"

/* ---- forms ---- */

static void preference_rows_are_strings_messages_or_ids(void **state)
{
    (void)state;
    sail__rows r = read_text(
        "preference", "a.jsonl",
        "{\"prompt\": \"p\", \"chosen\": \"c\\u0000d\", \"rejected\": \"r\", \"score_chosen\": 2}\n"
        "\n"
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"p\"}], \"chosen\": [{\"role\": \"assistant\", "
        "\"content\": \"c\"}], \"rejected\": [{\"role\": \"assistant\", \"content\": \"r\"}]}\r\n"
        "{\"chosen\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"c\"}],"
        "\"rejected\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"r\"}]}\n"
        "{\"prompt_ids\": [1, 2], \"chosen_ids\": [3], \"rejected_ids\": [4, 5]}\n"
        "{\"prompt\": \"p\", \"chosen\": [{\"role\": \"assistant\", \"content\": \"c\"}], \"rejected\": "
        "{\"from\": \"gpt\", \"value\": \"r\"}}");
    assert_int_equal(r.n, 5);
    assert_string_equal(r.rows[0]->part[SAIL_PART_PROMPT].text, "p");
    assert_int_equal(r.rows[0]->part[SAIL_PART_CHOSEN].len, 3);
    assert_true(r.rows[0]->score[0] == 2 && isnan(r.rows[0]->score[1]));
    MESSAGES(&r.rows[1]->part[SAIL_PART_PROMPT], 1, "user", "p");
    assert_int_equal(r.rows[1]->line, 3);
    MESSAGES(&r.rows[2]->part[SAIL_PART_PROMPT], 1, "user", "q");
    MESSAGES(&r.rows[2]->part[SAIL_PART_REJECTED], 1, "assistant", "r");
    assert_int_equal(r.rows[3]->part[SAIL_PART_REJECTED].ids[1], 5);
    MESSAGES(&r.rows[4]->part[SAIL_PART_PROMPT], 1, "user", "p");
    MESSAGES(&r.rows[4]->part[SAIL_PART_REJECTED], 1, "assistant", "r");
    assert_int_equal(sail__drops_total(&r.drops), 0);
    sail__rows_free(&r);
}

static void a_list_a_gz_file_and_lines_give_the_same_rows(void **state)
{
    (void)state;
    const char *one = "{\"prompt\": \"a ] , [ \\\" }\", \"chosen\": \"x\", \"rejected\": \"y\"}";
    const char *two = "{\"prompt\": \"b\",\n \"chosen\": \"x\", \"rejected\": \"y\"}";
    char list[512], lines[512];
    snprintf(list, sizeof list, "\xEF\xBB\xBF [%s\n,\n%s ]\n", one, two);
    snprintf(lines, sizeof lines, "%s\n{\"prompt\": \"b\", \"chosen\": \"x\", \"rejected\": \"y\"}\n", one);
    const struct {
        const char *name, *text;
        int64_t line;
    } files[] = {{"a.json", list, 3}, {"a.jsonl", lines, 2}, {"a.json.gz", list, 3}, {"a.jsonl.gz", lines, 2}};
    uint64_t hash[2] = {0};
    for (int i = 0; i < 4; i++) {
        sail__rows r = read_text("preference", files[i].name, files[i].text);
        assert_int_equal(r.n, 2);
        assert_int_equal(r.rows[1]->line, files[i].line);
        for (int k = 0; k < 2; k++) {
            assert_true(i == 0 || r.rows[k]->hash == hash[k]);
            hash[k] = r.rows[k]->hash;
        }
        assert_true(hash[0] != hash[1]);
        sail__rows_free(&r);
    }
    sail__rows r = read_text("preference", "empty.json", " [ ] ");
    assert_int_equal(r.n, 0);
    sail__rows_free(&r);
}

static void prompts_and_sft_rows_are_read(void **state)
{
    (void)state;
    sail__rows r = read_text(
        "prompts", "p.jsonl",
        "{\"prompt\": \"a\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}, {\"role\": \"assistant\", \"content\": \"c\"}]}\n"
        "{\"prompt\": \" \\n\"}\n{\"prompt_ids\": [7]}\n");
    assert_int_equal(r.n, 3);
    assert_int_equal(dropped(&r, "messages do not end with the user"), 1);
    assert_int_equal(dropped(&r, "empty prompt"), 1);
    assert_string_equal(sail__row_last_user(r.rows[1]), "b");
    sail__rows_free(&r);
    r = read_text(
        "sft", "s.jsonl",
        "{\"prompt\": \"a\", \"completion\": \"b\"}\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"b\"}, "
        "{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"c\"}, {\"text\": \"d\"}]}]}\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}\n"
        "{\"prompt_ids\": [1], \"completion_ids\": [2]}\n");
    assert_int_equal(r.n, 3);
    MESSAGES(&r.rows[1]->part[SAIL_PART_PROMPT], 2, "system", "s", "user", "b");
    MESSAGES(&r.rows[1]->part[SAIL_PART_CHOSEN], 1, "assistant", "cd");
    assert_int_equal(dropped(&r, "messages do not end with the assistant"), 1);
    sail_buf text = {0};
    sail__row_conversation(r.rows[1], &text);
    assert_string_equal(text.data, "System: s\n\nUser: b");
    sail__buf_free(&text);
    sail__rows_free(&r);
}

static void a_field_can_have_another_name(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    const char *path = golden_path("../data/instruction-data-with-preference.json");
    if (!path) {
        print_message("skipped: no shared data/instruction-data-with-preference.json\n");
        skip();
    }
    sail_arena *a = sail__arena_new();
    sail_problems problems = {.arena = a};
    sail_slot slot = {0};
    sail_node *node = sail__node_new(a, SAIL_NODE_MAP, "test", 0, 0);
    sail__node_set(a, node, "kind", sail__node_string(a, "preference", "test"));
    sail__node_set(a, node, "prompt", sail__node_string(a, "instruction", "test"));
    assert_true(sail__slot_parse(ctx, a, SAIL_KIND_DATASET, node, "data.reader", NULL, NULL, &slot, &problems));
    sail__data_options o = {.paths = &path, .n_paths = 1, .reader = &slot};
    sail__rows r;
    sail_err err = {0};
    if (sail__rows_load(&o, NULL, &r, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail_node *list;
    assert_int_equal(sail__json_read(a, path, 1 << 26, &list, &err), SAIL_OK);
    assert_int_equal(r.records, list->list.n);
    assert_int_equal((int64_t)r.n + sail__drops_total(&r.drops), r.records);
    sail_buf b = {0};
    sail__drops_print(&r.drops, r.records, &b);
    print_message("instruction data: %zu rows; %s\n", r.n, b.data ? b.data : "none dropped");
    sail__buf_free(&b);
    assert_string_equal(r.rows[0]->part[SAIL_PART_PROMPT].text,
                        sail__node_get(list->list.items[0], "instruction")->string.data);
    sail__rows_free(&r);
    sail__arena_free(a);
}

/* ---- hh-rlhf ---- */

static void hh_rlhf_counts_are_those_of_the_file(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    const char *path = golden_path("../data/hh-harmless-test.jsonl.gz");
    if (!path) {
        print_message("skipped: no shared data/hh-harmless-test.jsonl.gz\n");
        skip();
    }
    sail__rows r;
    sail_err err;
    if (load("hh-rlhf", path, (sail__data_options){0}, NULL, &r, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_int_equal(r.records, 2312);
    assert_int_equal(dropped(&r, "chosen and rejected do not share the prompt"), 2312 - 2307);
    assert_int_equal(dropped(&r, "empty response"), 4);
    assert_int_equal(sail__drops_total(&r.drops), 9);
    assert_int_equal(r.n, 2303);
    sail_buf b = {0};
    sail__drops_print(&r.drops, r.records, &b);
    print_message("%s\n", b.data);
    assert_non_null(strstr(b.data, "9 of 2312 rows dropped"));
    assert_non_null(strstr(b.data, "hh-harmless-test.jsonl.gz:87, 517, 926, 1104)"));
    /* template: hh writes every transcript again */
    sail__template *hh;
    assert_int_equal(sail__template_named("hh", NULL, NULL, &hh, &err), SAIL_OK);
    sail__json_stream *s;
    const sail_json *v;
    int64_t line;
    assert_int_equal(sail__json_stream_open(path, &s, &err), SAIL_OK);
    size_t i = 0;
    while (sail__json_stream_next(s, &v, &line, &err) == SAIL_OK && v) {
        if (i == r.n || r.rows[i]->line != line)
            continue;
        for (int side = 0; side < 2; side++) {
            const sail__part *p = &r.rows[i]->part[SAIL_PART_PROMPT], *a = &r.rows[i]->part[SAIL_PART_CHOSEN + side];
            b.len = 0;
            assert_int_equal(sail__template_render(hh, p->messages, p->n_messages, true, &b, NULL, &err), SAIL_OK);
            assert_int_equal(
                sail__template_response(hh, p->messages, p->n_messages, side ? NULL : &b, a->messages[0].content,
                                        a->messages[0].content_len, &b, NULL, &err),
                SAIL_OK);
            assert_string_equal(b.data, sail_json_string(sail_json_get(v, side ? "rejected" : "chosen"), NULL));
        }
        i++;
    }
    assert_int_equal(i, r.n);
    sail__json_stream_close(s);
    sail__template_free(hh);
    sail__buf_free(&b);
    sail__rows_free(&r);
}

static void hh_rlhf_turns_become_messages(void **state)
{
    (void)state;
    sail__rows r = read_text(
        "hh_rlhf", "hh.jsonl",
        "{\"chosen\": \"\\n\\nHuman: a\\n\\nAssistant: b\\n\\nHuman: c\\n\\nAssistant: d\", "
        "\"rejected\": \"\\n\\nHuman: a\\n\\nAssistant: b\\n\\nHuman: c\\n\\nAssistant: e\"}\n"
        "{\"chosen\": \"no transcript\", \"rejected\": \"none\"}\n"
        "{\"chosen\": \"x\\n\\nHuman: a\\n\\nAssistant: b\", \"rejected\": \"x\\n\\nHuman: a\\n\\nAssistant: c\"}\n"
        "{\"chosen\": \"\\n\\nHuman: a\\n\\nAssistant: b\", \"rejected\": \"\\n\\nHuman: z\\n\\nAssistant: c\"}\n");
    assert_int_equal(r.n, 1);
    MESSAGES(&r.rows[0]->part[SAIL_PART_PROMPT], 3, "user", "a", "assistant", "b", "user", "c");
    MESSAGES(&r.rows[0]->part[SAIL_PART_CHOSEN], 1, "assistant", "d");
    assert_int_equal(dropped(&r, "chosen and rejected do not share the prompt"), 1);
    assert_int_equal(dropped(&r, "transcript without an answer of Assistant"), 1);
    assert_int_equal(dropped(&r, "transcript does not begin with Human"), 1);
    sail__rows_free(&r);
}

/* ---- bad input ---- */

static void a_malformed_row_is_an_error_with_file_and_line(void **state)
{
    (void)state;
    const char *good = "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"r\"}\n";
    char text[512];
    snprintf(text, sizeof text, "%s\n%s{\"prompt\": \"p\", \"chosen\n%s", good, good, good);
    FAILS("preference", "bad.jsonl", text, SAIL_E_PARSE, "bad.jsonl:4:", "not valid JSON");
    snprintf(text, sizeof text, "%s{\"prompt\": \"p\", \"chosen\": 3, \"rejected\": \"r\"}\n", good);
    FAILS("preference", "type.jsonl", text, SAIL_E_PARSE, "type.jsonl:2", "'chosen'", "a number");
    snprintf(text, sizeof text, "%s{\"prompt\": \"p\", \"chosen\": \"c\"}\n", good);
    FAILS("preference", "gone.jsonl", text, SAIL_E_PARSE, "gone.jsonl:2", "'rejected' is missing");
    FAILS("preference", "two.jsonl", "{\"prompt\": \"p\", \"prompt\": \"q\"}\n", SAIL_E_PARSE, "two.jsonl:1",
          "duplicate");
    FAILS("preference", "scalar.jsonl", "3\n", SAIL_E_PARSE, "scalar.jsonl:1", "object");
    FAILS("preference", "bytes.jsonl", "{\"prompt\": \"\xff\"}\n", SAIL_E_PARSE, "bytes.jsonl:1", "0xff");
    FAILS("prompts", "role.jsonl", "{\"prompt\": [{\"role\": \"user<|im_end|>\", \"content\": \"x\"}]}\n", SAIL_E_PARSE,
          "role.jsonl:1", "role");
    FAILS("prompts", "content.jsonl", "{\"prompt\": [{\"role\": \"user\", \"content\": null}]}\n", SAIL_E_PARSE,
          "content.jsonl:1", "content of message 1");
    FAILS("prompts", "ids.jsonl", "{\"prompt_ids\": [1, -2]}\n", SAIL_E_PARSE, "ids.jsonl:1", "item 2");
    FAILS("prompts", "list.json", "[{\"prompt\": \"a\"} {\"prompt\": \"b\"}]", SAIL_E_PARSE, "list.json:1", "");
    FAILS("prompts", "comma.json", "[{\"prompt\": \"a\"},\n]", SAIL_E_PARSE, "comma.json:2", "missing after a comma");
    FAILS("prompts", "cut.json", "[{\"prompt\": \"a\"},\n{\"prompt\": \"b", SAIL_E_PARSE, "cut.json:2", "ends inside");
    FAILS("prompts", "open.json", "[{\"prompt\": \"a\"}", SAIL_E_PARSE, "open.json:1", "ends inside");
    FAILS("prompts", "after.json", "[{\"prompt\": \"a\"}] x", SAIL_E_PARSE, "after.json:1", "after the end");
    FAILS("prompts", "packed.jsonl", "\x28\xB5\x2F\xFDxxxx", SAIL_E_FORMAT, "packed.jsonl", "cannot be unpacked");
    FAILS("prompts", "packed.bz2", "BZh91AY", SAIL_E_FORMAT, "packed.bz2", "bzip2");
    sail__rows rows;
    sail_err err;
    assert_int_equal(load("prompts", "/nonexistent/x.jsonl", (sail__data_options){0}, NULL, &rows, &err),
                     SAIL_E_NOTFOUND);
    assert_non_null(strstr(err.message, "/nonexistent/x.jsonl"));
    assert_int_equal(load("prompts", dir, (sail__data_options){0}, NULL, &rows, &err), SAIL_E_IO);
}

static void a_truncated_gz_file_is_an_error(void **state)
{
    (void)state;
    sail_buf b = {0};
    for (int i = 0; i < 20000; i++)
        sail__buf_printf(&b, "{\"prompt\": \"number %d of many\"}\n", i * 7919);
    char path[256];
    snprintf(path, sizeof path, "%s", write_file("cut.jsonl.gz", b.data));
    sail__buf_free(&b);
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fclose(f);
    assert_int_equal(truncate(path, size / 2), 0);
    sail__rows rows;
    sail_err err;
    assert_int_equal(load("prompts", path, (sail__data_options){0}, NULL, &rows, &err), SAIL_E_FORMAT);
    assert_non_null(strstr(err.message, "cut.jsonl.gz"));
    assert_non_null(strstr(err.message, "too early"));
}

static void bad_rows_are_skipped_and_counted_when_asked(void **state)
{
    (void)state;
    sail__rows r;
    sail_err err;
    const char *path =
        write_file("skip.jsonl", "{\"prompt\": \"a\"}\n{\"prompt\n{\"prompt\": 1}\n{\"prompt\": \"b\"}\n[]\n");
    assert_int_equal(load("prompts", path, (sail__data_options){.on_bad_row = SAIL__BAD_ROW_SKIP}, NULL, &r, &err),
                     SAIL_OK);
    assert_int_equal(r.n, 2);
    assert_int_equal(dropped(&r, "malformed"), 3);
    assert_int_equal(r.drops.items[0].line[0], 2);
    assert_int_equal(r.drops.items[0].line[2], 5);
    sail__rows_free(&r);
}

static void equal_and_empty_responses_are_dropped(void **state)
{
    (void)state;
    sail__rows r = read_text("preference", "e.jsonl",
                             "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \"c\"}\n"
                             "{\"prompt\": \"p\", \"chosen\": \"c\", \"rejected\": \" \\n\"}\n"
                             "{\"chosen\": [{\"role\": \"user\", \"content\": \"a\"}], \"rejected\": [{\"role\": "
                             "\"user\", \"content\": \"b\"}]}\n");
    assert_int_equal(r.n, 0);
    assert_int_equal(dropped(&r, "chosen and rejected are equal"), 1);
    assert_int_equal(dropped(&r, "empty response"), 1);
    assert_int_equal(dropped(&r, "chosen and rejected have no common prompt"), 1);
    sail__rows_free(&r);
}

/* ---- splits, orders ---- */

static void the_split_is_by_prompt_and_covers_all(void **state)
{
    (void)state;
    sail_buf b = {0};
    for (int i = 0; i < 2000; i++)
        sail__buf_printf(&b, "{\"prompt\": \"prompt %d\", \"chosen\": \"c%d\", \"rejected\": \"r\"}\n", i / 2, i);
    const char *path = write_file("split.jsonl", b.data);
    sail__buf_free(&b);
    sail_err err;
    size_t n[3];
    for (int s = 0; s < 3; s++) {
        sail__rows r;
        assert_int_equal(load("preference", path, (sail__data_options){.held_out = 0.2, .split = s}, NULL, &r, &err),
                         SAIL_OK);
        n[s] = r.n;
        for (size_t i = 0; i < r.n; i++) /* both rows of a prompt on one side */
            assert_true(r.rows[i]->prompt_hash == r.rows[i ^ 1]->prompt_hash);
        for (size_t i = 0; i < r.n && s; i++)
            assert_int_equal(sail__held_out(r.rows[i]->prompt_hash, 0.2), s == SAIL__SPLIT_HELD_OUT);
        assert_int_equal(r.records, 2000);
        sail__rows_free(&r);
    }
    assert_int_equal(n[0], 2000);
    assert_int_equal(n[1] + n[2], 2000);
    assert_true(n[2] > 300 && n[2] < 500); /* 400, standard deviation 25 */
    sail__rows r;
    assert_int_equal(load("preference", path, (sail__data_options){.max_rows = 7}, NULL, &r, &err), SAIL_OK);
    assert_int_equal(r.n, 7);
    sail__rows_free(&r);
}

static void shares_have_no_prompt_in_common_and_cover_all(void **state)
{
    (void)state;
    sail_buf b = {0};
    for (int i = 0; i < 2000; i++)
        sail__buf_printf(&b, "{\"prompt\": \"prompt %d\", \"chosen\": \"c%d\", \"rejected\": \"r\"}\n", i / 2, i);
    const char *path = write_file("share.jsonl", b.data);
    sail__buf_free(&b);
    static const double from[] = {0, 0.25, 0.5}, to[] = {0.25, 0.5, 1};
    int taken[2001] = {0};
    sail_err err;
    for (int s = 0; s < 3; s++) {
        sail__rows train, held;
        sail__data_options o = {.held_out = 0.2, .split = SAIL__SPLIT_TRAIN, .from = from[s], .to = to[s]};
        assert_int_equal(load("preference", path, o, NULL, &train, &err), SAIL_OK);
        o.split = SAIL__SPLIT_HELD_OUT;
        assert_int_equal(load("preference", path, o, NULL, &held, &err), SAIL_OK);
        for (size_t i = 0; i < train.n; i++)
            taken[train.rows[i]->line]++;
        for (size_t i = 0; i < held.n; i++)
            taken[held.rows[i]->line]++;
        double all = 2000 * (to[s] - from[s]), share = (double)held.n / (double)(train.n + held.n);
        if (fabs((double)(train.n + held.n) - all) > 200 || share < 0.12 || share > 0.28) /* more than four standard deviations of either */
            fail_msg("[%g, %g] has %zu and %zu held out", from[s], to[s], train.n, held.n);
        sail__rows_free(&train);
        sail__rows_free(&held);
    }
    for (int i = 1; i <= 2000; i++)
        assert_int_equal(taken[i], 1);
    static const char *const bad[] = {"[0.5, 0.5]", "[0, 1.5]", "[-1, 1]", "[1]", "0.3", "[\"a\", 1]"};
    sail_arena *a = sail__arena_new();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sail_node *n;
        sail__data_options o = {0};
        assert_int_equal(sail__json_parse(a, bad[i], strlen(bad[i]), "share", 1, &n, &err), SAIL_OK);
        assert_int_equal(sail__data_share(n, &o, &err), SAIL_E_RECIPE);
        assert_non_null(strstr(err.message, "0 <= FROM < TO <= 1"));
    }
    sail__arena_free(a);
}

static void the_order_is_a_permutation_of_seed_and_epoch(void **state)
{
    (void)state;
    enum { N = 1000 };
    uint32_t a[N], b[N];
    bool seen[N] = {false};
    sail__shuffle(1, 0, a, N);
    for (int i = 0; i < N; i++) {
        assert_true(a[i] < N && !seen[a[i]]);
        seen[a[i]] = true;
    }
    sail__shuffle(1, 0, b, N);
    assert_memory_equal(a, b, sizeof a);
    sail__shuffle(1, 1, b, N);
    assert_true(memcmp(a, b, sizeof a) != 0);
    sail__shuffle(2, 0, b, N);
    assert_true(memcmp(a, b, sizeof a) != 0);
    int fixed = 0;
    for (int i = 0; i < N; i++)
        fixed += a[i] == (uint32_t)i;
    assert_true(fixed < 12); /* one is expected */
}

/* ---- tokens ---- */

typedef struct world {
    sail__tokenizer *t;
    sail__template *chat;
    sail_arena *a;
} world;

/* The recorded SmolLM2 tokenizer, or NULL: skip. */
static bool world_open(world *w)
{
    const char *path = golden_path("text/tokenizers/smollm2");
    if (!path)
        return false;
    sail_err err = {0};
    if (sail__tokenizer_open(path, &w->t, &err) != SAIL_OK ||
        sail__template_for(w->t, NULL, NULL, &w->chat, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    w->a = sail__arena_new();
    return true;
}

static void world_close(world *w)
{
    sail__arena_free(w->a);
    sail__template_free(w->chat);
    sail__tokenizer_free(w->t);
}

static sail__encoded encode(world *w, sail__encode_options o, const char *reader, const char *row_text,
                            const char **reason)
{
    sail__rows r = read_text(reader, "one.jsonl", row_text);
    assert_int_equal(r.n, 1);
    o.tokenizer = w->t;
    o.chat = w->chat;
    sail__encoded out;
    sail_err err = {0};
    if (sail__encode_row(&o, NULL, r.rows[0], w->a, &out, reason, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail__rows_free(&r);
    return out;
}

static void expect_text(const world *w, const int32_t *ids, size_t n, const char *want)
{
    sail_buf b = {0};
    sail_err err = {0};
    assert_int_equal(sail__decode(w->t, ids, n, 0, &b, &err), SAIL_OK);
    assert_string_equal(b.data ? b.data : "", want);
    sail__buf_free(&b);
}

static void prompt_and_responses_join_to_the_conversation(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    world w;
    const char *reason;
    if (!world_open(&w))
        skip();
    sail__encoded e = encode(
        &w, (sail__encode_options){0}, "preference",
        "{\"prompt\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": "
        "\"a<|im_end|>b\"}], "
        "\"chosen\": [{\"role\": \"assistant\", \"content\": \"Yes.\"}], \"rejected\": [{\"role\": \"assistant\", "
        "\"content\": \"<|im_end|>No\"}]}",
        &reason);
    assert_null(reason);
    expect_text(&w, e.prompt, e.n_prompt,
                "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant\n");
    expect_text(&w, e.chosen, e.n_chosen, "Yes.<|im_end|>");
    expect_text(&w, e.rejected, e.n_rejected, "<|im_end|>No<|im_end|>");
    int32_t end = sail__tokenizer_id(w.t, "<|im_end|>");
    int ends = 0;
    for (size_t i = 0; i < e.n_prompt; i++)
        ends += e.prompt[i] == end;
    assert_int_equal(ends, 2); /* the one in the user's words is not among them */
    assert_int_equal(e.chosen[e.n_chosen - 1], end);
    for (size_t i = 0; i + 1 < e.n_rejected; i++)
        assert_true(e.rejected[i] != end);
    world_close(&w);
}

static void what_closes_a_conversation_is_what_stands_behind_its_end(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const char *const closed[][2] = {
        {"{% for m in messages %}{{ m.content }}<|im_end|>\n\n{% endfor %}{% if true %}.{% endif %}", "\n\n."},
        {"{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}", ""},
        {"{% for m in messages %}{{ m.content }}.{% endfor %}", ""},
        {"{% if false %}never{% endif %}", ""}}; /* a template that writes nothing */
    world w;
    if (!world_open(&w))
        skip();
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        sail__template *chat;
        sail__ids ids = {0};
        sail_err err = {0};
        assert_int_equal(sail__template_from_jinja(closed[i][0], "test", NULL, w.t, &chat, &err), SAIL_OK);
        assert_int_equal(sail__closing_ids(chat, w.t, &ids, &err), SAIL_OK);
        expect_text(&w, ids.items, ids.n, closed[i][1]);
        sail__ids_free(&ids);
        sail__template_free(chat);
    }
    world_close(&w);
}

static void a_space_at_the_end_of_a_prompt_moves_to_the_responses(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    world w;
    const char *reason;
    if (!world_open(&w))
        skip();
    sail__encoded e = encode(
        &w, (sail__encode_options){.no_end = true}, "preference",
        "{\"prompt\": \"Q: what?\\nA: \", \"chosen\": \"because it is\", \"rejected\": \" two spaces\"}", &reason);
    assert_null(reason);
    expect_text(&w, e.prompt, e.n_prompt, "Q: what?\nA:");
    expect_text(&w, e.chosen, e.n_chosen, " because it is");
    expect_text(&w, e.rejected, e.n_rejected, "  two spaces");
    sail__ids whole = {0};
    sail_err err = {0};
    const char *text = "Q: what?\nA: because it is";
    assert_int_equal(sail__encode(w.t, NULL, text, strlen(text), 0, &whole, &err), SAIL_OK);
    assert_int_equal(whole.n, e.n_prompt + e.n_chosen);
    assert_memory_equal(whole.items, e.prompt, e.n_prompt * sizeof *e.prompt);
    assert_memory_equal(whole.items + e.n_prompt, e.chosen, e.n_chosen * sizeof *e.chosen);
    sail__ids_free(&whole);
    world_close(&w);
}

static void what_is_too_long_is_dropped_or_cut(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    world w;
    const char *reason, *row = "{\"prompt\": \"1 2 3 4\", \"chosen\": \"5 6 7\", \"rejected\": \"8\"}";
    if (!world_open(&w))
        skip();
    sail__encoded whole = encode(&w, (sail__encode_options){0}, "preference", row, &reason);
    assert_null(reason);
    assert_int_equal(whole.n_prompt, 7);
    assert_int_equal(whole.n_chosen, 6); /* with the end token */
    int32_t end = sail__tokenizer_eos(w.t);
    encode(&w, (sail__encode_options){.max_prompt = 6}, "preference", row, &reason);
    assert_string_equal(reason, "prompt longer than max_prompt");
    encode(&w, (sail__encode_options){.max_response = 5}, "preference", row, &reason);
    assert_string_equal(reason, "response longer than max_response");
    encode(&w, (sail__encode_options){.max_prompt = 7, .max_response = 6}, "preference", row, &reason);
    assert_null(reason);
    sail__encoded e =
        encode(&w, (sail__encode_options){.max_prompt = 3, .max_response = 5, .truncate = SAIL__TRUNCATE_END},
               "preference", row, &reason);
    assert_null(reason);
    assert_true(e.cut_prompt && e.cut_chosen && !e.cut_rejected);
    assert_int_equal(e.n_prompt, 3);
    assert_memory_equal(e.prompt, whole.prompt, 3 * sizeof *e.prompt);
    assert_int_equal(e.n_chosen, 5);
    assert_true(e.chosen[4] != end); /* no invented end */
    assert_int_equal(e.rejected[e.n_rejected - 1], end);
    e = encode(&w, (sail__encode_options){.max_prompt = 3, .max_response = 5, .truncate = SAIL__TRUNCATE_START},
               "preference", row, &reason);
    assert_memory_equal(e.prompt, whole.prompt + 4, 3 * sizeof *e.prompt);
    assert_memory_equal(e.chosen, whole.chosen + 1, 5 * sizeof *e.chosen);
    world_close(&w);
}

static void ready_ids_are_taken_as_they_are(void **state)
{
    (void)state;
    sail__rows r =
        read_text("preference", "i.jsonl", "{\"prompt_ids\": [9, 8], \"chosen_ids\": [3], \"rejected_ids\": [4, 5]}\n");
    sail_arena *a = sail__arena_new();
    sail__encode_options o = {0};
    sail__encoded e;
    const char *reason;
    sail_err err = {0};
    assert_int_equal(sail__encode_row(&o, NULL, r.rows[0], a, &e, &reason, &err), SAIL_OK);
    assert_null(reason);
    assert_true(e.n_prompt == 2 && e.prompt[1] == 8 && e.n_chosen == 1 && e.chosen[0] == 3 && e.n_rejected == 2);
    sail__rows_free(&r);
    r = read_text("prompts", "t.jsonl", "{\"prompt\": \"text\"}\n");
    assert_int_equal(sail__encode_row(&o, NULL, r.rows[0], a, &e, &reason, &err), SAIL_E_ARG);
    sail__rows_free(&r);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preference_rows_are_strings_messages_or_ids),
        cmocka_unit_test(a_list_a_gz_file_and_lines_give_the_same_rows),
        cmocka_unit_test(prompts_and_sft_rows_are_read),
        cmocka_unit_test(a_field_can_have_another_name),
        cmocka_unit_test(hh_rlhf_counts_are_those_of_the_file),
        cmocka_unit_test(hh_rlhf_turns_become_messages),
        cmocka_unit_test(a_malformed_row_is_an_error_with_file_and_line),
        cmocka_unit_test(a_truncated_gz_file_is_an_error),
        cmocka_unit_test(bad_rows_are_skipped_and_counted_when_asked),
        cmocka_unit_test(equal_and_empty_responses_are_dropped),
        cmocka_unit_test(the_split_is_by_prompt_and_covers_all),
        cmocka_unit_test(shares_have_no_prompt_in_common_and_cover_all),
        cmocka_unit_test(the_order_is_a_permutation_of_seed_and_epoch),
        cmocka_unit_test(prompt_and_responses_join_to_the_conversation),
        cmocka_unit_test(what_closes_a_conversation_is_what_stands_behind_its_end),
        cmocka_unit_test(a_space_at_the_end_of_a_prompt_moves_to_the_responses),
        cmocka_unit_test(what_is_too_long_is_dropped_or_cut),
        cmocka_unit_test(ready_ids_are_taken_as_they_are),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
