/* The tokenizer on its own: bad files, patterns that go astray, long texts, threads, vocabularies in memory. */
#include <pthread.h>
#include <unistd.h>

#include "../../golden.h"
#include "io/tokenizer.h"

static char dir[] = "/tmp/sail-tokenizer-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return !mkdtemp(dir);
}

static int teardown(void **state)
{
    (void)state;
    sail_err err;
    sail__remove_tree(dir, &err);
    return 0;
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static sail_code open_text(const char *text, sail__tokenizer **t, sail_err *err)
{
    sail_err ignored = {0};
    const char *path = path_of("t.json");
    assert_int_equal(sail__file_write(path, text, strlen(text), &ignored), SAIL_OK);
    *err = (sail_err){0};
    return sail__tokenizer_open(path, t, err);
}

static void refuses(const char *text, sail_code code, const char *word)
{
    sail__tokenizer *t;
    sail_err err;
    sail_code got = open_text(text, &t, &err);
    assert_null(t);
    if (got != code || !strstr(err.message, word) || !strstr(err.message, "t.json"))
        fail_msg("code %d, wanted %d with '%s': %s", got, code, word, err.message);
}

#define MODEL "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}"
#define BYTES                                                                                                          \
    "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": "              \
    "\"ByteLevel\"}"

static void damaged_files_are_refused_with_what_and_where(void **state)
{
    (void)state;
    refuses("", SAIL_E_PARSE, "not valid JSON");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\"", SAIL_E_PARSE, "t.json:1");
    refuses("[]", SAIL_E_FORMAT, "object");
    refuses("{}", SAIL_E_FORMAT, "model is missing");
    refuses("{\"model\": {\"type\": \"Unigram\"}}", SAIL_E_FORMAT, "Unigram");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": [\"a\"], \"merges\": []}}", SAIL_E_FORMAT, "model.vocab");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", SAIL_E_FORMAT, "model.merges");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": \"0\"}, \"merges\": []}}", SAIL_E_FORMAT,
            "must be an integer");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", SAIL_E_FORMAT, "outside");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 4000000000}, \"merges\": []}}", SAIL_E_FORMAT,
            "outside");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 16000000}, \"merges\": []}}", SAIL_E_FORMAT,
            "ids up to");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", SAIL_E_FORMAT,
            "same id");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}}", SAIL_E_PARSE,
            "duplicate");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a c\"]}}", SAIL_E_FORMAT,
            "'c' is not in");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": [\"a b\"]}}", SAIL_E_FORMAT,
            "'ab' is not in");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", SAIL_E_FORMAT, "merges[0]");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", SAIL_E_FORMAT,
            "merges[0]");
    refuses("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"unk_token\": \"u\"}}",
            SAIL_E_FORMAT, "unk_token");
    refuses("{" MODEL ", \"normalizer\": {\"type\": \"Precompiled\"}}", SAIL_E_FORMAT, "Precompiled");
    refuses("{" MODEL ", \"normalizer\": {\"type\": \"Replace\", \"pattern\": {}, \"content\": \"\"}}", SAIL_E_FORMAT,
            "pattern");
    refuses("{" MODEL ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}", SAIL_E_FORMAT, "BertPreTokenizer");
    refuses("{" MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}}}", SAIL_E_FORMAT,
            "'(a'");
    refuses("{" MODEL ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}}}",
            SAIL_E_FORMAT, "[a&&b]");
    refuses("{" MODEL ", \"pre_tokenizer\": {\"type\": \"Sequence\"}}", SAIL_E_FORMAT, "pre_tokenizer");
    refuses(
        "{" MODEL
        ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}]}}",
        SAIL_E_FORMAT, "post_processor");
    refuses(
        "{" MODEL
        ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}], "
        "\"special_tokens\": {\"x\": {\"ids\": [9]}}}}",
        SAIL_E_FORMAT, "not in the vocabulary");
    refuses("{" MODEL ", \"decoder\": {\"type\": \"WordPiece\"}}", SAIL_E_FORMAT, "WordPiece");
    refuses("{" MODEL ", \"added_tokens\": [{\"id\": 0}]}", SAIL_E_FORMAT, "added_tokens[0]");
    refuses("{" MODEL ", \"added_tokens\": [{\"id\": 0, \"content\": \"z\"}]}", SAIL_E_FORMAT, "added_tokens[0]");
    sail__tokenizer *t;
    sail_err err = {0};
    assert_int_equal(sail__tokenizer_open("/nonexistent/tokenizer.json", &t, &err), SAIL_E_NOTFOUND);
    assert_int_equal(sail__tokenizer_open(dir, &t, &err), SAIL_E_NOTFOUND);
    assert_non_null(strstr(err.message, "no tokenizer.json"));
}

static sail__ids encode(const sail__tokenizer *t, const char *text, unsigned flags)
{
    sail__ids ids = {0};
    sail_err err = {0};
    if (sail__encode(t, NULL, text, strlen(text), flags, &ids, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return ids;
}

static void expect_ids(const sail__tokenizer *t, const char *text, unsigned flags, const int32_t *want, size_t n)
{
    sail__ids ids = encode(t, text, flags);
    assert_int_equal(ids.n, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ids.items[i], want[i]);
    sail__ids_free(&ids);
}
#define IDS(t, text, flags, ...)                                                                                       \
    expect_ids(t, text, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static sail__tokenizer *must_open(const char *text)
{
    sail__tokenizer *t;
    sail_err err;
    if (open_text(text, &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return t;
}

static void holes_in_a_vocabulary_decode_to_nothing(void **state)
{
    (void)state;
    sail__tokenizer *t = must_open(
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 5, \"ab\": 7}, \"merges\": [\"a b\"]}, " BYTES
        "}");
    assert_int_equal(sail__tokenizer_size(t), 8);
    IDS(t, "aba", 0, 7, 0);
    assert_null(sail__tokenizer_bytes(t, 3, NULL));
    assert_null(sail__tokenizer_token(t, -1, NULL));
    sail_buf out = {0};
    sail_err err = {0};
    const int32_t ids[] = {7, 3, -5, 100, 0};
    assert_int_equal(sail__decode(t, ids, 5, 0, &out, &err), SAIL_OK);
    assert_string_equal(out.data, "aba");
    sail__buf_free(&out);
    sail__tokenizer_free(t);
}

/* The later steps of a merge order: a tie goes to the left; a merge opens another. */
static void merges_go_by_rank_then_from_the_left(void **state)
{
    (void)state;
    sail__tokenizer *t =
        must_open("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"aa\": 1, \"aaa\": 2, \"b\": 3, \"ba\": 4, "
                  "\"baa\": 5}, \"merges\": [\"b a\", \"a a\", \"ba a\", \"aa a\"]}, " BYTES "}");
    IDS(t, "aaa", 0, 2);
    IDS(t, "aaaa", 0, 1, 1);
    IDS(t, "baaa", 0, 4, 1); /* aa is made before baa, of which then nothing is left */
    IDS(t, "baa", 0, 5);
    /* the same through the long way */
    enum { N = 301 };
    char text[N + 1] = "b";
    memset(text + 1, 'a', N - 1);
    text[N] = '\0';
    sail__ids ids = encode(t, text, 0);
    assert_int_equal(ids.items[0], 4);
    assert_int_equal(ids.n, 1 + 149); /* 299 = 2·148 + 3: the last pair takes the odd one */
    assert_int_equal(ids.items[148], 1);
    assert_int_equal(ids.items[149], 2);
    sail__ids_free(&ids);
    sail__tokenizer_free(t);
}

static void special_strings_are_parsed_only_where_asked(void **state)
{
    (void)state;
    sail__tokenizer *t =
        must_open("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"<\": 0, \"s\": 1, \">\": 2}, \"merges\": []}, " BYTES
                  ", \"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true, \"normalized\": false}]}");
    IDS(t, "<s>s<s>", SAIL__PARSE_SPECIAL, 3, 1, 3);
    IDS(t, "<s>s<s>", 0, 0, 1, 2, 1, 0, 1, 2);
    sail__ids ids = {0};
    sail_err err = {0};
    const sail__span plain[] = {{4, 7}};
    assert_int_equal(sail__encode_spans(t, NULL, "<s>s<s>", 7, SAIL__PARSE_SPECIAL, plain, 1, &ids, &err), SAIL_OK);
    assert_int_equal(ids.n, 5);
    assert_int_equal(ids.items[0], 3);
    assert_int_equal(ids.items[2], 0);
    sail__ids_free(&ids);
    assert_true(sail__tokenizer_is_special(t, 3) && !sail__tokenizer_is_special(t, 1));
    sail__tokenizer_free(t);
}

static void broken_utf8_is_an_error_that_leaves_the_ids_alone(void **state)
{
    (void)state;
    sail__tokenizer *t = must_open("{" MODEL ", " BYTES "}");
    sail__ids ids = {0};
    sail_err err = {0};
    assert_int_equal(sail__encode(t, NULL, "ab", 2, 0, &ids, &err), SAIL_OK);
    assert_int_equal(sail__encode(t, NULL, "ab\xE2\x28", 4, 0, &ids, &err), SAIL_E_PARSE);
    assert_non_null(strstr(err.message, "byte 2"));
    assert_int_equal(ids.n, 1);
    sail__ids_free(&ids);
    sail__tokenizer_free(t);
}

static void a_pattern_that_goes_astray_is_named(void **state)
{
    (void)state;
    sail__tokenizer *t =
        must_open("{" MODEL ", \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
                  "\"pattern\": {\"Regex\": \"(a+)+[bc]\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", "
                  "\"add_prefix_space\": false, \"use_regex\": false}]}}");
    char text[40];
    memset(text, 'a', sizeof text);
    sail__ids ids = {0};
    sail_err err = {0};
    double start = sail__now();
    assert_int_equal(sail__encode(t, NULL, text, sizeof text, 0, &ids, &err), SAIL_E_LIMIT);
    assert_non_null(strstr(err.message, "(a+)+[bc]"));
    assert_true(sail__now() - start < 60);
    sail__ids_free(&ids);
    sail__tokenizer_free(t);
}

/* Behaviours of Split on "a--b-" at '-', by their definition. */
static void split_behaviours_cut_as_defined(void **state)
{
    (void)state;
    static const struct {
        const char *behavior;
        bool invert;
        int32_t ids[6];
        size_t n;
    } cases[] = {
        /* vocabulary: a 0, b 1, - 2, -- 3, a- 4, -b 5, b- 6 */
        {"Isolated", false, {0, 2, 2, 1, 2}, 5},
        {"Removed", false, {0, 1}, 2},
        {"Removed", true, {2, 2, 2}, 3},
        {"MergedWithPrevious", false, {4, 2, 6}, 3},
        {"MergedWithNext", false, {0, 2, 5, 2}, 4},
        {"Contiguous", false, {0, 3, 1, 2}, 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"-\": 2, \"--\": 3, \"a-\": 4, "
                 "\"-b\": 5, "
                 "\"b-\": 6}, \"merges\": [\"- -\", \"a -\", \"- b\", \"b -\"]}, \"pre_tokenizer\": {\"type\": "
                 "\"Split\", \"pattern\": "
                 "{\"String\": \"-\"}, \"behavior\": \"%s\", \"invert\": %s}}",
                 cases[i].behavior, cases[i].invert ? "true" : "false");
        sail__tokenizer *t = must_open(text);
        expect_ids(t, "a--b-", 0, cases[i].ids, cases[i].n);
        sail__tokenizer_free(t);
    }
}

static void white_space_is_unicodes(void **state)
{
    (void)state;
    sail__tokenizer *t = must_open(
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"x\": 0, \"y\": 1}, \"merges\": []}, \"pre_tokenizer\": "
        "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\s\"}, \"behavior\": \"Removed\"}}");
    IDS(t, "x\xC2\x85y\xC2\xA0x\xE2\x80\xA8y\xE3\x80\x80x", 0, 0, 1, 0, 1, 0);
    sail__tokenizer_free(t);
    t = must_open(
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"\xE1\xA0\x8E\": 0, \"\xE2\x80\x8B\": 1, \"\\u001c\": 2}, "
        "\"merges\": []}, "
        "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[\\\\s]\"}, \"behavior\": \"Removed\"}}");
    IDS(t, "\xE1\xA0\x8E\xE2\x80\x8B\x1C", 0, 0, 1, 2); /* U+180E, U+200B, U+001C are not */
    sail__tokenizer_free(t);
}

/* ---- with recorded tokenizers ---- */

static sail__tokenizer *recorded(const char *name)
{
    char relative[256];
    snprintf(relative, sizeof relative, "text/tokenizers/%s", name);
    const char *path = golden_path(relative);
    sail__tokenizer *t = NULL;
    sail_err err = {0};
    if (path && sail__tokenizer_open(path, &t, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    return t;
}

/* A megabyte of one thing: quadratic merging or matching would take hours. */
static void long_repetitions_take_no_longer_than_text(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const char *const tokenizers[] = {"smollm2", "qwen2.5", "mistral-v1"}, *const units[] = {
                                                                                      "a",   " ",
                                                                                      "\n",  "1",
                                                                                      "ab ", "\xC3\xA9",
                                                                                      "Ab",  "\xF0\x9F\x98\x80"};
    enum { BYTES_IN_ALL = 1000000 };
    char *text = sail__malloc(BYTES_IN_ALL);
    for (size_t k = 0; k < sizeof tokenizers / sizeof *tokenizers; k++) {
        sail__tokenizer *t = recorded(tokenizers[k]);
        if (!t)
            continue;
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            size_t n = strlen(units[u]), len = BYTES_IN_ALL / n * n;
            for (size_t i = 0; i < len; i += n)
                memcpy(text + i, units[u], n);
            sail__ids ids = {0};
            sail_buf out = {0};
            sail_err err = {0};
            double start = sail__now();
            if (sail__encode(t, NULL, text, len, 0, &ids, &err) != SAIL_OK)
                fail_msg("%s", err.message);
            assert_true(sail__now() - start < 30); /* a fraction of a second without sanitizers */
            assert_int_equal(sail__decode(t, ids.items, ids.n, 0, &out, &err), SAIL_OK);
            assert_int_equal(out.len, len);
            assert_memory_equal(out.data, text, len);
            sail__ids_free(&ids);
            sail__buf_free(&out);
        }
        sail__tokenizer_free(t);
    }
    sail__free(text);
}

static void a_continuation_gets_no_prefix(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    static const char *const names[] = {"mistral-v1", "spm-metaspace-2k", "nfc-2k"};
    for (int i = 0; i < 3; i++) {
        sail__tokenizer *t = recorded(names[i]);
        if (!t)
            continue;
        sail__ids begin = encode(t, "hello", 0), on = encode(t, "hello", SAIL__CONTINUATION),
                  space = encode(t, " hello", SAIL__CONTINUATION);
        size_t n;
        const char *first = sail__tokenizer_bytes(t, begin.items[0], &n);
        assert_true(n > 0 && first[0] == ' ');
        first = sail__tokenizer_bytes(t, on.items[0], &n);
        assert_true(n > 0 && first[0] == 'h');
        assert_int_equal(space.n, begin.n);
        assert_memory_equal(space.items, begin.items, begin.n * sizeof *begin.items);
        sail_buf out = {0};
        sail_err err = {0};
        assert_int_equal(sail__decode(t, space.items, space.n, SAIL__DECODE_CONTINUATION, &out, &err), SAIL_OK);
        assert_string_equal(out.data, " hello");
        sail__buf_free(&out);
        sail__ids_free(&begin);
        sail__ids_free(&on);
        sail__ids_free(&space);
        sail__tokenizer_free(t);
    }
}

typedef struct worker {
    const sail__tokenizer *t;
    const char *text;
    size_t len;
    sail__ids ids;
    sail_code code;
} worker;

static void *work(void *p)
{
    worker *w = p;
    sail_err err = {0};
    sail__token_scratch *s = sail__token_scratch_new(w->t);
    for (int i = 0; i < 5 && !w->code; i++) {
        w->ids.n = 0;
        w->code = sail__encode(w->t, s, w->text, w->len, SAIL__PARSE_SPECIAL, &w->ids, &err);
    }
    sail__token_scratch_free(s);
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    sail__tokenizer *t = recorded("qwen2.5");
    if (!t)
        skip();
    char *text;
    size_t len;
    sail_err err = {0};
    assert_int_equal(sail__file_read(golden_path("text/README.md"), 1 << 24, &text, &len, &err), SAIL_OK);
    enum { N = 4 };
    worker w[N];
    pthread_t id[N];
    for (int i = 0; i < N; i++) {
        w[i] = (worker){t, text, len, {0}, SAIL_OK};
        assert_int_equal(pthread_create(&id[i], NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(id[i], NULL);
        assert_int_equal(w[i].code, SAIL_OK);
        assert_int_equal(w[i].ids.n, w[0].ids.n);
        assert_memory_equal(w[i].ids.items, w[0].ids.items, w[0].ids.n * sizeof *w[0].ids.items);
    }
    for (int i = 0; i < N; i++)
        sail__ids_free(&w[i].ids);
    sail__free(text);
    sail__tokenizer_free(t);
}

/* ---- vocabularies in memory ---- */

static const char *const three[] = {"a", "b", "ab"};
static const char *const one_merge[] = {"a b"};

static sail__vocabulary small(void)
{
    return (sail__vocabulary){.origin = "small.gguf",
                              .model = "gpt2",
                              .pre = "gpt-2",
                              .tokens = three,
                              .n = 3,
                              .merges = one_merge,
                              .n_merges = 1,
                              .bos = -1,
                              .eos = 1,
                              .eot = 0,
                              .eom = -1,
                              .unk = -1,
                              .pad = -1,
                              .add_bos = -1,
                              .add_eos = -1,
                              .add_space_prefix = -1};
}

static void vocabulary_refused(const sail__vocabulary *v, const char *word)
{
    sail__tokenizer *t;
    sail_err err = {0};
    assert_int_equal(sail__tokenizer_from_vocabulary(v, &t, &err), SAIL_E_FORMAT);
    assert_null(t);
    if (!strstr(err.message, word) || !strstr(err.message, "small.gguf"))
        fail_msg("no '%s' in: %s", word, err.message);
}

static void a_vocabulary_in_memory_is_checked(void **state)
{
    (void)state;
    sail__tokenizer *t;
    sail_err err = {0};
    sail__vocabulary v = small();
    assert_int_equal(sail__tokenizer_from_vocabulary(&v, &t, &err), SAIL_OK);
    IDS(t, "aba", 0, 2, 0);
    size_t n;
    const int32_t *ends = sail__tokenizer_ends(t, &n);
    assert_int_equal(n, 2);
    assert_true(ends[0] == 1 && ends[1] == 0);
    sail__tokenizer_free(t);
    v.pre = "qwen3000";
    vocabulary_refused(&v, "qwen3000");
    vocabulary_refused(&v, "smollm");
    v = small();
    v.model = "bert";
    vocabulary_refused(&v, "bert");
    v = small();
    v.eos = 3;
    vocabulary_refused(&v, "eos");
    v = small();
    v.model = "llama";
    vocabulary_refused(&v, "scores");
    v = small();
    v.tokens = (const char *const[]){"a", "b", "a"};
    vocabulary_refused(&v, "twice");
    v.tokens = (const char *const[]){"a", "b", "\xFF"};
    vocabulary_refused(&v, "token 2 is not valid UTF-8");
    v = small();
    v.merges = (const char *const[]){"a c"};
    vocabulary_refused(&v, "'c'");
    v.merges = (const char *const[]){"\xFF a"};
    vocabulary_refused(&v, "merge 0");
}

/* Every recorded tokenizer that a GGUF can carry: its vocabulary as plain arrays gives the recorded ids of plain text,
 * and so do the files written from it. */
static void compare(const char *name, const char *pre, const char *model)
{
    sail__tokenizer *t = recorded(name), *v = NULL, *w = NULL;
    if (!t)
        return;
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    char relative[256];
    snprintf(relative, sizeof relative, "text/tokenizers/%s/tokenizer.json", name);
    sail_node *root;
    assert_int_equal(sail__json_read(a, golden_path(relative), 1 << 28, &root, &err), SAIL_OK);
    size_t n = (size_t)sail__tokenizer_size(t);
    const char **tokens = sail__arena_array(a, n, sizeof *tokens);
    int32_t *types = sail__arena_array(a, n, sizeof *types);
    float *scores = sail__arena_array(a, n, sizeof *scores);
    const sail_node *added = sail__node_get(root, "added_tokens"), *list = sail__node_find(root, "model.merges");
    for (size_t i = 0; i < n; i++) {
        tokens[i] = sail__tokenizer_token(t, (int32_t)i, NULL);
        scores[i] = -1e9f;
        types[i] = tokens[i] && strlen(tokens[i]) == 6 && memcmp(tokens[i], "<0x", 3) == 0 ? 6 : 1;
        tokens[i] = tokens[i] ? tokens[i] : "";
    }
    for (size_t i = 0; i < added->list.n; i++)
        types[sail__node_get(added->list.items[i], "id")->integer] =
            sail__node_get(added->list.items[i], "special")->boolean ? 3 : 4;
    const char **merges = sail__arena_array(a, list->list.n, sizeof *merges);
    for (size_t i = 0; i < list->list.n; i++) {
        const sail_node *m = list->list.items[i];
        merges[i] = m->kind == SAIL_NODE_STRING
                        ? m->string.data
                        : sail__arena_printf(a, "%s %s", m->list.items[0]->string.data, m->list.items[1]->string.data);
    }
    bool spm = strcmp(model, "llama") == 0;
    for (size_t i = list->list.n; spm && i-- > 0;) { /* a piece's score is the rank of its first merge */
        const char *space = strchr(merges[i], ' ');
        int32_t id =
            sail__tokenizer_id(t, sail__arena_printf(a, "%.*s%s", (int)(space - merges[i]), merges[i], space + 1));
        assert_true(id >= 0);
        scores[id] = -(float)i;
    }
    sail__vocabulary voc = {.origin = name,
                            .model = model,
                            .pre = pre,
                            .tokens = tokens,
                            .n = n,
                            .types = types,
                            .scores = spm ? scores : NULL,
                            .merges = spm ? NULL : merges,
                            .n_merges = spm ? 0 : list->list.n,
                            .bos = sail__tokenizer_bos(t),
                            .eos = sail__tokenizer_eos(t),
                            .eot = -1,
                            .eom = -1,
                            .unk = sail__tokenizer_unk(t),
                            .pad = -1,
                            .add_bos = -1,
                            .add_eos = -1,
                            .add_space_prefix = -1};
    if (sail__tokenizer_from_vocabulary(&voc, &v, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail_buf json = {0}, config = {0};
    assert_int_equal(sail__vocabulary_write(&voc, &json, &config, &err), SAIL_OK);
    assert_int_equal(sail__file_write(path_of("tokenizer_config.json"), config.data, config.len, &err), SAIL_OK);
    assert_int_equal(sail__file_write(path_of("tokenizer.json"), json.data, json.len, &err), SAIL_OK);
    if (sail__tokenizer_open(dir, &w, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    unlink(path_of("tokenizer.json"));
    unlink(path_of("tokenizer_config.json"));
    sail__buf_free(&json);
    sail__buf_free(&config);
    assert_int_equal(sail__tokenizer_eos(w), sail__tokenizer_eos(t));
    snprintf(relative, sizeof relative, "text/tokenizers/%s/cases.jsonl", name);
    char *data;
    size_t size, count = 0;
    assert_int_equal(sail__file_read(golden_path(relative), 1 << 28, &data, &size, &err), SAIL_OK);
    sail_arena *rows = sail__arena_new();
    for (char *line = data, *end; line < data + size && (end = memchr(line, '\n', (size_t)(data + size - line)));
         line = end + 1) {
        sail__arena_reset(rows);
        sail_node *row;
        assert_int_equal(sail__json_parse(rows, line, (size_t)(end - line), name, 0, &row, &err), SAIL_OK);
        const sail_node *text = sail__node_get(row, "text"), *ids = sail__node_get(row, "ids");
        unsigned flags = (sail__node_get(row, "add_special")->boolean ? SAIL__ADD_SPECIAL : 0) |
                         (sail__node_get(row, "parse_special")->boolean ? SAIL__PARSE_SPECIAL : 0);
        for (int k = 0; k < 2; k++) {
            sail__ids got = {0};
            assert_int_equal(sail__encode(k ? w : v, NULL, text->string.data, text->string.len, flags, &got, &err),
                             SAIL_OK);
            bool same = got.n == ids->list.n;
            for (size_t i = 0; same && i < got.n; i++)
                same = got.items[i] == ids->list.items[i]->integer;
            if (!same)
                fail_msg("%s %s: ids differ", name, sail__node_get(row, "id")->string.data);
            sail__ids_free(&got);
        }
        count++;
    }
    print_message("%s as %s/%s: %zu cases, from memory and from the written files\n", name, model, pre ? pre : "-",
                  count);
    assert_true(count > 0);
    sail__arena_free(rows);
    sail__free(data);
    sail__tokenizer_free(t);
    sail__tokenizer_free(v);
    sail__tokenizer_free(w);
    sail__arena_free(a);
}

static void vocabularies_in_memory_give_the_recorded_ids(void **state)
{
    (void)state;
    GOLDEN_OR_SKIP();
    compare("smollm2", "smollm", "gpt2");
    compare("bytebpe-2k", NULL, "gpt2");
    compare("qwen2.5", "qwen2", "gpt2");
    compare("llama3-form-4k", "llama-bpe", "gpt2");
    compare("tekken-form-3k", "tekken", "gpt2");
    compare("mistral-v1", NULL, "llama");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_files_are_refused_with_what_and_where),
        cmocka_unit_test(holes_in_a_vocabulary_decode_to_nothing),
        cmocka_unit_test(merges_go_by_rank_then_from_the_left),
        cmocka_unit_test(special_strings_are_parsed_only_where_asked),
        cmocka_unit_test(broken_utf8_is_an_error_that_leaves_the_ids_alone),
        cmocka_unit_test(a_pattern_that_goes_astray_is_named),
        cmocka_unit_test(split_behaviours_cut_as_defined),
        cmocka_unit_test(white_space_is_unicodes),
        cmocka_unit_test(long_repetitions_take_no_longer_than_text),
        cmocka_unit_test(a_continuation_gets_no_prefix),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(a_vocabulary_in_memory_is_checked),
        cmocka_unit_test(vocabularies_in_memory_give_the_recorded_ids),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
