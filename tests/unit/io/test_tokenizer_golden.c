/* Every recorded tokenizer: all cases of encoding and decoding, all streams; the comparer against planted faults. */
#include "../../golden.h"
#include "io/tokenizer.h"

typedef struct lines {
    sail_arena *arena;
    char *data;
    size_t size, at;
    int line;
} lines;

static bool lines_open(lines *l, const char *path)
{
    sail_err err = {0};
    *l = (lines){.arena = sail__arena_new()};
    if (!sail__file_exists(path))
        return false;
    if (sail__file_read(path, 1 << 28, &l->data, &l->size, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return true;
}

static sail_node *lines_next(lines *l)
{
    while (l->at < l->size) {
        char *end = memchr(l->data + l->at, '\n', l->size - l->at);
        size_t n = end ? (size_t)(end - l->data) - l->at : l->size - l->at;
        const char *text = l->data + l->at;
        l->at += n + 1;
        l->line++;
        if (!n)
            continue;
        sail__arena_reset(l->arena);
        sail_node *out;
        sail_err err = {0};
        if (sail__json_parse(l->arena, text, n, "line", l->line, &out, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        return out;
    }
    return NULL;
}

static void lines_close(lines *l)
{
    sail__free(l->data);
    sail__arena_free(l->arena);
}

static bool boolean(const sail_node *row, const char *key, bool otherwise)
{
    const sail_node *v = sail__node_get(row, key);
    return v && v->kind == SAIL_NODE_BOOL ? v->boolean : otherwise;
}

static bool equals(const sail_buf *b, const sail_node *s)
{
    return s && s->kind == SAIL_NODE_STRING && b->len == s->string.len &&
           (!b->len || memcmp(b->data, s->string.data, b->len) == 0);
}

static sail__ids ids_of(const sail_node *row)
{
    sail__ids ids = {0};
    sail_err err = {0};
    const sail_node *v = sail__node_get(row, "ids");
    assert_non_null(v);
    for (size_t i = 0; i < v->list.n; i++) {
        int32_t id = (int32_t)v->list.items[i]->integer;
        assert_int_equal(sail__ids_add(&ids, &id, 1, &err), SAIL_OK);
    }
    return ids;
}

/* Does this row agree with the tokenizer? */
static bool agrees(const sail__tokenizer *t, sail__token_scratch *s, const sail_node *row, bool say)
{
    sail_err err = {0};
    const sail_node *text = sail__node_get(row, "text");
    unsigned flags = (boolean(row, "add_special", false) ? SAIL__ADD_SPECIAL : 0) |
                     (boolean(row, "parse_special", true) ? SAIL__PARSE_SPECIAL : 0);
    sail__ids want = ids_of(row), got = {0};
    if (sail__encode(t, s, text->string.data, text->string.len, flags, &got, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    bool ok = want.n == got.n && (!want.n || memcmp(want.items, got.items, want.n * sizeof *want.items) == 0);
    if (!ok && say) {
        size_t at = 0;
        while (at < want.n && at < got.n && want.items[at] == got.items[at])
            at++;
        print_message("  %s: ids differ at %zu (%zu recorded, %zu ours): %d, %d\n",
                      sail__node_get(row, "id")->string.data, at, want.n, got.n, at < want.n ? want.items[at] : -1,
                      at < got.n ? got.items[at] : -1);
    }
    sail_buf out = {0};
    assert_int_equal(sail__decode(t, want.items, want.n, 0, &out, &err), SAIL_OK);
    bool decoded = equals(&out, sail__node_get(row, "decoded"));
    const sail_node *skipped = sail__node_get(row, "decoded_skip_special");
    out.len = 0;
    assert_int_equal(sail__decode(t, want.items, want.n, SAIL__SKIP_SPECIAL, &out, &err), SAIL_OK);
    decoded &= equals(&out, skipped ? skipped : sail__node_get(row, "decoded"));
    if (!decoded && say)
        print_message("  %s: decoded text differs\n", sail__node_get(row, "id")->string.data);
    sail__buf_free(&out);
    sail__ids_free(&want);
    sail__ids_free(&got);
    return ok && decoded;
}

static int hex(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static int some_ends; /* of texts that are the sum of their tokens' */

static bool stream_agrees(const sail__tokenizer *t, const sail_node *row)
{
    sail__ids ids = ids_of(row);
    const sail_node *bytes = sail__node_get(row, "bytes"), *eager = sail__node_get(row, "eager");
    sail_err err = {0};
    sail_buf out = {0};
    sail__text_stream s = {.tokenizer = t};
    bool ok = bytes->list.n == ids.n && eager->list.n == ids.n + 1;
    for (size_t i = 0; i < ids.n && ok; i++) {
        size_t n;
        const char *b = sail__tokenizer_bytes(t, ids.items[i], &n);
        const sail_node *want = bytes->list.items[i];
        ok = b && want->string.len == 2 * n;
        for (size_t j = 0; ok && j < n; j++)
            ok = (unsigned char)b[j] == hex(want->string.data[2 * j]) * 16 + hex(want->string.data[2 * j + 1]);
        out.len = 0;
        sail__stream_push(&s, ids.items[i], &out);
        ok = ok && equals(&out, eager->list.items[i]);
    }
    out.len = 0;
    sail__stream_flush(&s, &out);
    ok = ok && equals(&out, eager->list.items[ids.n]);
    out.len = 0;
    assert_int_equal(sail__decode(t, ids.items, ids.n, 0, &out, &err), SAIL_OK);
    ok = ok && equals(&out, sail__node_get(row, "decoded"));
    uint32_t *ends = calloc(ids.n + 1, sizeof *ends);
    if (ids.n && ok && !memchr(out.data ? out.data : "", 0, out.len)) {
        const bool known = sail__token_ends(t, ids.items, ids.n, 0, out.data ? out.data : "", ends);
        for (size_t i = 1; i < ids.n && known; i++)
            ok = ok && ends[i] >= ends[i - 1];
        ok = ok && (!known || ends[ids.n - 1] == out.len);
        some_ends += known;
    }
    free(ends);
    if (!ok)
        print_message("  %s: stream differs\n", sail__node_get(row, "id")->string.data);
    sail__buf_free(&out);
    sail__ids_free(&ids);
    return ok;
}

static const char *file_of(char *out, size_t size, const char *name, const char *file)
{
    snprintf(out, size, "%s/text/tokenizers/%s/%s", golden_dir(), name, file);
    return out;
}

typedef struct count {
    size_t cases, passed;
} count;

/* How many of a recorded tokenizer's cases t agrees with (plain: of those texts alone that hold no tag and begin with no space or mark of one); the first
 * few that it does not are printed. */
static count count_cases(const sail__tokenizer *t, const char *name, bool plain)
{
    count c = {0};
    lines l;
    char path[4096];
    sail__token_scratch *s = sail__token_scratch_new(t);
    assert_non_null(s);
    assert_true(lines_open(&l, file_of(path, sizeof path, name, "cases.jsonl")));
    for (sail_node *row; (row = lines_next(&l));) {
        const sail_node *text = sail__node_get(row, "text");
        if (plain && (strpbrk(text->string.data, "<[") || strchr(" \t\n\xE2", text->string.data[0])))
            continue;
        c.passed += agrees(t, s, row, c.cases - c.passed < 5);
        c.cases++;
    }
    lines_close(&l);
    sail__token_scratch_free(s);
    assert_true(c.cases > 0);
    return c;
}

static void all_cases_and_streams_agree(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    char **names, path[4096], dir[4096];
    size_t n, bad = 0;
    snprintf(dir, sizeof dir, "%s/text/tokenizers", golden_dir());
    assert_int_equal(sail__list_dir(a, dir, &names, &n, &err), SAIL_OK);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        sail__tokenizer *t;
        if (sail__tokenizer_open(file_of(path, sizeof path, names[i], ""), &t, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        const count c = count_cases(t, names[i], false);
        size_t streams = 0, streamed = 0;
        lines l;
        assert_true(lines_open(&l, file_of(path, sizeof path, names[i], "stream.jsonl")));
        for (sail_node *row; (row = lines_next(&l)); streams++)
            streamed += stream_agrees(t, row);
        lines_close(&l);
        print_message("%s: %zu of %zu cases, %zu of %zu streams, ends of tokens in %d\n", names[i], c.passed, c.cases, streamed, streams, some_ends);
        assert_true(streams > 0 && some_ends > 0);
        some_ends = 0;
        bad += c.cases - c.passed + streams - streamed;
        sail__tokenizer_free(t);
    }
    sail__arena_free(a);
    assert_int_equal(bad, 0);
}

/* Rows that say something wrong must be told apart, each of them. */
static void the_comparer_rejects_planted_rows(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    char **names, path[4096], dir[4096];
    size_t n, planted = 0;
    snprintf(dir, sizeof dir, "%s/text/tokenizers", golden_dir());
    assert_int_equal(sail__list_dir(a, dir, &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        lines l;
        if (lines_open(&l, file_of(path, sizeof path, names[i], "planted.jsonl"))) {
            sail__tokenizer *t;
            assert_int_equal(sail__tokenizer_open(file_of(path, sizeof path, names[i], ""), &t, &err), SAIL_OK);
            for (sail_node *row; (row = lines_next(&l)); planted++)
                if (agrees(t, NULL, row, false))
                    fail_msg("%s: accepted, though %s", sail__node_get(row, "id")->string.data,
                             sail__node_get(row, "planted")->string.data);
            sail__tokenizer_free(t);
        }
        lines_close(&l);
    }
    sail__arena_free(a);
    assert_true(planted > 0);
}

/* The model file's own vocabulary, through its pre-tokenizer's name, against the recorded cases of the same tokenizer.
 */
static void the_gguf_vocabulary_of_smollm2_agrees(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail_node *root;
    assert_int_equal(sail__json_read(a, golden_path("models/smollm2/texts.json"), 1 << 24, &root, &err), SAIL_OK);
    char path[4096];
    snprintf(path, sizeof path, "../models/%s", sail__node_get(root, "file")->string.data);
    const char *gguf = golden_path(path);
    if (!gguf) {
        print_message("skipped: no shared %s\n", path + strlen("../"));
        sail__arena_free(a);
        skip();
    }
    sail__tokenizer *t;
    if (sail__tokenizer_open(gguf, &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail__token_scratch *s = sail__token_scratch_new(t);
    const count c = count_cases(t, "smollm2", false);
    print_message("%s: %zu of %zu cases\n", sail__path_base(gguf), c.passed, c.cases);
    assert_int_equal(c.passed, c.cases);
    const sail_node *texts = sail__node_get(root, "texts");
    for (size_t i = 0; i < texts->list.n; i++) {
        const sail_node *text = sail__node_get(texts->list.items[i], "text");
        sail__ids want = ids_of(texts->list.items[i]), got = {0};
        assert_int_equal(sail__encode(t, s, text->string.data, text->string.len, 0, &got, &err), SAIL_OK);
        assert_int_equal(got.n, want.n);
        assert_memory_equal(got.items, want.items, want.n * sizeof *want.items);
        sail__ids_free(&want);
        sail__ids_free(&got);
    }
    sail__token_scratch_free(s);
    sail__tokenizer_free(t);
    sail__arena_free(a);
}

/* The tiny models: the vocabulary in the GGUF file and the tokenizer.json it was made from, against recorded texts. */
static void the_gguf_vocabularies_of_the_tiny_models_agree(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail_node *root;
    char **names, dir[4096], path[8192];
    size_t n, compared = 0;
    snprintf(dir, sizeof dir, "%s/models/gguf", golden_dir());
    snprintf(path, sizeof path, "%s/tokens.json", dir);
    assert_int_equal(sail__json_read(a, path, 1 << 24, &root, &err), SAIL_OK);
    assert_int_equal(sail__list_dir(a, dir, &names, &n, &err), SAIL_OK);
    const sail_node *list = root->kind == SAIL_NODE_LIST ? root : root->list.items[0];
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(names[i]);
        if (strcmp(names[i], "tokenizer.json") != 0 && (len < 5 || strcmp(names[i] + len - 5, ".gguf") != 0))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        sail__tokenizer *t;
        if (sail__tokenizer_open(path, &t, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        for (size_t k = 0; k < list->list.n; k++) {
            const sail_node *text = sail__node_get(list->list.items[k], "text");
            sail__ids want = ids_of(list->list.items[k]), got = {0};
            assert_int_equal(
                sail__encode(t, NULL, text->string.data, text->string.len, SAIL__PARSE_SPECIAL, &got, &err), SAIL_OK);
            if (got.n != want.n || (want.n && memcmp(got.items, want.items, want.n * sizeof *want.items) != 0))
                fail_msg("%s: text %zu", names[i], k);
            sail_buf out = {0};
            assert_int_equal(sail__decode(t, got.items, got.n, 0, &out, &err), SAIL_OK);
            assert_true(equals(&out, text));
            sail__buf_free(&out);
            sail__ids_free(&want);
            sail__ids_free(&got);
            compared++;
        }
        sail__tokenizer_free(t);
    }
    print_message("%zu texts of %zu recorded ones in all files\n", compared, list->list.n);
    assert_true(compared > 0);
    sail__arena_free(a);
}

/* Written as a vocabulary, as into a GGUF, a tokenizer gives the same ids; or it is refused. A vocabulary has no flags for added tokens
 * that take spaces with them, and no prefix for a text's first word alone: tokenizers of SentencePiece's form keep to plain texts here. */
static void vocabularies_of_tokenizers_give_the_same_ids(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    char **names, path[4096], dir[4096];
    size_t n, bad = 0, byte_level = 0, pieces = 0, refused = 0;
    snprintf(dir, sizeof dir, "%s/text/tokenizers", golden_dir());
    assert_int_equal(sail__list_dir(a, dir, &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        sail__tokenizer *t, *again;
        sail__vocabulary v;
        assert_int_equal(sail__tokenizer_open(file_of(path, sizeof path, names[i], ""), &t, &err), SAIL_OK);
        const size_t size = (size_t)sail__tokenizer_size(t);
        assert_int_equal(sail__tokenizer_vocabulary(t, size - 1, NULL, a, &v, &err), SAIL_E_FORMAT); /* fewer than there are */
        if (sail__tokenizer_vocabulary(t, size + 3, NULL, a, &v, &err) != SAIL_OK) {
            assert_non_null(strstr(err.message, "--pre")); /* more before the pattern than any name stands for */
            assert_int_equal(sail__tokenizer_vocabulary(t, size, "gpt-2", a, &v, &err), SAIL_OK);
            assert_string_equal(v.pre, "gpt-2");
            refused++;
        } else {
            if (sail__tokenizer_from_vocabulary(&v, &again, &err) != SAIL_OK)
                fail_msg("%s: %s", names[i], err.message);
            const bool plain = strcmp(v.model, "llama") == 0;
            const count c = count_cases(again, names[i], plain);
            print_message("%s: %s, %s: %zu of %zu cases\n", names[i], v.model, v.pre ? v.pre : "scores", c.passed, c.cases);
            assert_int_equal(sail__tokenizer_size(again), size + 3);
            assert_int_equal(sail__tokenizer_bos(again), sail__tokenizer_bos(t));
            assert_int_equal(sail__tokenizer_eos(again), sail__tokenizer_eos(t));
            bad += c.cases - c.passed;
            plain ? pieces++ : byte_level++;
            sail__tokenizer_free(again);
        }
        sail__tokenizer_free(t);
    }
    sail__arena_free(a);
    assert_int_equal(bad, 0);
    assert_true(byte_level > 0 && pieces > 0 && refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_cases_and_streams_agree),
        cmocka_unit_test(the_gguf_vocabulary_of_smollm2_agrees),
        cmocka_unit_test(vocabularies_of_tokenizers_give_the_same_ids),
        cmocka_unit_test(the_gguf_vocabularies_of_the_tiny_models_agree),
        cmocka_unit_test(the_comparer_rejects_planted_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
