/* test_hub.c - names of the Hugging Face hub: how they are read, and what they are found as in a cache of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/hub.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER "ffffffffffffffffffffffffffffffffffffffff"

typedef struct rig {
    sail_arena *a;
    char home[64];
} rig;

static int up(void **state)
{
    rig *r = calloc(1, sizeof *r);
    static const char *const names[] = {"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"};
    for (size_t i = 0; i < 4; i++)
        unsetenv(names[i]);
    strcpy(r->home, "/tmp/sail-hub-XXXXXX");
    r->a = sail__arena_new();
    *state = r;
    return r->a && mkdtemp(r->home) && setenv("HOME", r->home, 1) == 0 ? 0 : -1;
}

static int down(void **state)
{
    rig *r = *state;
    sail_err err;
    sail_code code = sail__remove_tree(r->home, &err);
    sail__arena_free(r->a);
    free(r);
    return code == SAIL_OK ? 0 : -1;
}

/* A file of the cache, below its root. */
static void put(rig *r, const char *path, const char *text)
{
    sail_err err;
    const char *root;
    assert_int_equal(sail__hub_root(r->a, &root, &err), SAIL_OK);
    const char *full = sail__path_join(r->a, root, path);
    assert_int_equal(sail__make_dirs(sail__path_dir(r->a, full), &err), SAIL_OK);
    assert_int_equal(sail__file_write(full, text, strlen(text), &err), SAIL_OK);
}

static const char *found(rig *r, const char *text)
{
    sail_err err = {0};
    const char *path = NULL, *root;
    if (sail__hub_find(r->a, text, &path, &err) != SAIL_OK)
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(sail__hub_root(r->a, &root, &err), SAIL_OK);
    assert_memory_equal(path, root, strlen(root));
    return path + strlen(root) + 1;
}

/* Not found, and the message holds all of the words (NULL at the end). */
static void lost(rig *r, const char *text, sail_code code, ...)
{
    sail_err err = {0};
    const char *path = NULL, *word;
    va_list ap;
    assert_int_equal(sail__hub_find(r->a, text, &path, &err), code);
    va_start(ap, code);
    while ((word = va_arg(ap, const char *)))
        if (!strstr(err.message, word))
            fail_msg("`%s` does not hold `%s`", err.message, word);
    va_end(ap);
}

static void a_name_has_owner_name_revision_and_file(void **state)
{
    static const struct {
        const char *text, *repo, *revision, *file;
        bool dataset;
    } cases[] = {
        {"hf:a/b", "a/b", "main", NULL, false},
        {"a-1/b_2.c", "a-1/b_2.c", "main", NULL, false},
        {"hf:a/b@v1.0", "a/b", "v1.0", NULL, false},
        {"hf:a/b@" COMMIT "/x/y.gguf", "a/b", COMMIT, "x/y.gguf", false},
        {"hf:a/b@refs/pr/12/x.gguf", "a/b", "refs/pr/12", "x.gguf", false},
        {"hf:a/b@refs/convert/parquet", "a/b", "refs/convert/parquet", NULL, false},
        {"hf:datasets/a/b/d/*.jsonl.gz", "a/b", "main", "d/*.jsonl.gz", true},
        {"hf:datasets/a/b@dev/x.jsonl", "a/b", "dev", "x.jsonl", true},
        {"hf://datasets/a/b@dev/x.jsonl", "a/b", "dev", "x.jsonl", true},
    };
    rig *r = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sail_err err = {0};
        sail__hub_name n;
        if (sail__hub_parse(r->a, cases[i].text, &n, &err) != SAIL_OK)
            fail_msg("%s", err.message);
        assert_string_equal(n.repo, cases[i].repo);
        assert_string_equal(n.revision, cases[i].revision);
        assert_int_equal(n.dataset, cases[i].dataset);
        assert_int_equal(n.file == NULL, cases[i].file == NULL);
        if (n.file)
            assert_string_equal(n.file, cases[i].file);
    }
}

static void what_is_no_name_is_refused(void **state)
{
    static const char *const wrong[] = {"hf:", "hf:a", "hf:/b", "hf:a/", "hf:a b/c", "hf:../b", "hf:a/..", "hf:a/b@", "hf:a/b@../x", "hf:a/b@x..y",
                                        "hf:a/b/", "hf:a/b@/x", "hf:///a/b", "//a/b", "hf:-a/b", "hf:datasets/a", "hf:a\n/b"};
    rig *r = *state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        sail_err err = {0};
        sail__hub_name n;
        if (sail__hub_parse(r->a, wrong[i], &n, &err) == SAIL_OK)
            fail_msg("%s is taken", wrong[i]);
        assert_int_equal(err.code, SAIL_E_USAGE);
        assert_non_null(strstr(err.message, wrong[i]));
    }
}

static void the_cache_is_where_the_environment_says(void **state)
{
    rig *r = *state;
    sail_err err;
    const char *root;
    static const struct {
        const char *name, *value, *want;
    } steps[] = {{"XDG_CACHE_HOME", "/x/cache", "/x/cache/huggingface/hub"},
                 {"HF_HOME", "~/hf", "/hf/hub"},
                 {"HUGGINGFACE_HUB_CACHE", "/old", "/old"},
                 {"HF_HUB_CACHE", "/new", "/new"}};
    assert_int_equal(sail__hub_root(r->a, &root, &err), SAIL_OK);
    assert_string_equal(root, sail__path_join(r->a, r->home, ".cache/huggingface/hub"));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) { /* each wins over those before */
        setenv(steps[i].name, steps[i].value, 1);
        assert_int_equal(sail__hub_root(r->a, &root, &err), SAIL_OK);
        assert_string_equal(root, steps[i].value[0] == '~' ? sail__path_join(r->a, r->home, steps[i].want + 1) : steps[i].want);
    }
}

static void a_model_is_found_by_branch_and_by_commit(void **state)
{
    rig *r = *state;
    put(r, "models--a--b/snapshots/" COMMIT "/config.json", "{}");
    lost(r, "hf:a/b", SAIL_E_NOTFOUND, "no revision `main`", COMMIT, "sail pull a/b`", NULL);
    put(r, "models--a--b/refs/main", COMMIT "\n");
    put(r, "models--a--b/refs/refs/pr/1", COMMIT);
    assert_string_equal(found(r, "hf:a/b"), "models--a--b/snapshots/" COMMIT);
    assert_string_equal(found(r, "hf:a/b@" COMMIT), "models--a--b/snapshots/" COMMIT);
    assert_string_equal(found(r, "hf:a/b@refs/pr/1"), "models--a--b/snapshots/" COMMIT);
    lost(r, "hf:a/b@v2", SAIL_E_NOTFOUND, "no revision `v2`", "sail pull a/b@v2`", NULL);
    lost(r, "hf:a/c", SAIL_E_NOTFOUND, "hf:a/c is not in the cache", r->home, "models--a--c", "sail pull a/c`", NULL);
    put(r, "models--a--b/refs/main", OTHER); /* a commit whose snapshot is not there */
    lost(r, "hf:a/b", SAIL_E_NOTFOUND, "no revision `main`", NULL);
    put(r, "models--a--b/refs/main", "../../../etc");
    lost(r, "hf:a/b", SAIL_E_NOTFOUND, "no revision `main`", NULL);
}

static void of_several_gguf_files_one_is_named(void **state)
{
    rig *r = *state;
    put(r, "models--a--g/refs/main", COMMIT);
    put(r, "models--a--g/snapshots/" COMMIT "/m-Q4_K_M.gguf", "x");
    assert_string_equal(found(r, "hf:a/g"), "models--a--g/snapshots/" COMMIT "/m-Q4_K_M.gguf");
    put(r, "models--a--g/snapshots/" COMMIT "/deep/m-Q8_0.gguf", "x");
    lost(r, "hf:a/g", SAIL_E_NOTFOUND, "may be 2 files", "m-Q4_K_M.gguf", "deep/m-Q8_0.gguf", NULL);
    assert_string_equal(found(r, "hf:a/g/q8"), "models--a--g/snapshots/" COMMIT "/deep/m-Q8_0.gguf");
    assert_string_equal(found(r, "hf:a/g/*Q4*"), "models--a--g/snapshots/" COMMIT "/m-Q4_K_M.gguf");
    assert_string_equal(found(r, "hf:a/g/deep/m-Q8_0.gguf"), "models--a--g/snapshots/" COMMIT "/deep/m-Q8_0.gguf");
    lost(r, "hf:a/g/Q5", SAIL_E_NOTFOUND, "nothing like `Q5`", "m-Q4_K_M.gguf", "sail pull a/g --gguf 'Q5'", NULL);
    put(r, "models--a--g/snapshots/" COMMIT "/m", "x"); /* a whole name, though it is part of others */
    assert_string_equal(found(r, "hf:a/g/m"), "models--a--g/snapshots/" COMMIT "/m");
}

static void a_link_without_its_blob_is_told(void **state)
{
    rig *r = *state;
    sail_err err;
    const char *root;
    put(r, "models--a--g/refs/main", COMMIT);
    put(r, "models--a--g/snapshots/" COMMIT "/README.md", "x");
    lost(r, "hf:a/g", SAIL_E_NOTFOUND, "no config.json and no .gguf", "sail pull a/g`", NULL);
    assert_int_equal(sail__hub_root(r->a, &root, &err), SAIL_OK);
    assert_int_equal(symlink("../../blobs/gone", sail__path_join(r->a, root, "models--a--g/snapshots/" COMMIT "/m.gguf")), 0);
    lost(r, "hf:a/g", SAIL_E_NOTFOUND, "m.gguf leads nowhere", "sail pull a/g`", NULL);
}

static void data_are_named_by_file_or_pattern(void **state)
{
    rig *r = *state;
    put(r, "datasets--a--d/refs/main", COMMIT);
    put(r, "datasets--a--d/snapshots/" COMMIT "/h/train.jsonl", "{}");
    assert_string_equal(found(r, "hf:datasets/a/d/h/train.jsonl"), "datasets--a--d/snapshots/" COMMIT "/h/train.jsonl");
    assert_string_equal(found(r, "hf:datasets/a/d/h/*.jsonl"), "datasets--a--d/snapshots/" COMMIT "/h/*.jsonl");
    lost(r, "hf:datasets/a/d", SAIL_E_USAGE, "which file", NULL);
    lost(r, "hf:datasets/a/d/test.json", SAIL_E_NOTFOUND, "h/train.jsonl", "sail pull datasets/a/d --include 'test.json'", NULL);
    lost(r, "hf:a/d", SAIL_E_NOTFOUND, "models--a--d", NULL);
}

static void a_path_of_the_cache_knows_its_repository(void **state)
{
    rig *r = *state;
    sail_err err;
    assert_string_equal(sail__hub_repo_of(r->a, "/c/models--a--b-c.d/snapshots/" COMMIT), "a/b-c.d");
    assert_string_equal(sail__hub_repo_of(r->a, "/c/datasets--a--b/snapshots/x/y"), "a/b");
    assert_null(sail__hub_repo_of(r->a, "/c/models/a"));
    assert_null(sail__hub_repo_of(r->a, "/c/models--ab/snapshots/x"));
    sail_fail(&err, SAIL_E_NOTFOUND, "no x");
    assert_int_equal(sail__hub_advise("/c/models--a--b/snapshots/" COMMIT "/model.safetensors", &err), SAIL_E_NOTFOUND);
    assert_string_equal(err.message, "no x; `sail pull a/b@" COMMIT "` fetches what is missing");
    sail_fail(&err, SAIL_E_FORMAT, "bad x");
    sail__hub_advise("/c/models--a--b/snapshots/" COMMIT, &err);
    assert_string_equal(err.message, "bad x");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {
        TEST(a_name_has_owner_name_revision_and_file),
        TEST(what_is_no_name_is_refused),
        TEST(the_cache_is_where_the_environment_says),
        TEST(a_model_is_found_by_branch_and_by_commit),
        TEST(of_several_gguf_files_one_is_named),
        TEST(a_link_without_its_blob_is_told),
        TEST(data_are_named_by_file_or_pattern),
        TEST(a_path_of_the_cache_knows_its_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
