/* test_safetensors.c - writing and reading back, and one damaged file for each known class of fault: an error that
 * names the file and the place, quickly and with little memory. */
#include "../../golden.h"

#include <unistd.h>

#include "io/safetensors.h"

static void ok(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

/* header: JSON; length: what the file says it is (0: the truth); data bytes follow. */
static size_t build(unsigned char *out, const char *header, uint64_t length, size_t data)
{
    size_t n = strlen(header);
    uint64_t said = length ? length : n;
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(said >> (8 * i));
    memcpy(out + 8, header, n);
    memset(out + 8 + n, 1, data);
    return 8 + n + data;
}

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end "]}"

static void damaged_files_are_refused_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *what, *header;
        uint64_t length;
        size_t data;
        const char *word;
    } cases[] = {
        {"header longer than the file", "{}", 1000, 0, "1000"},
        {"huge header", "{}", UINT64_MAX, 0, "header"},
        {"header beyond the format's limit", "{}", 100000001, 0, "100000000"},
        {"not an object", "[1,2]", 0, 0, "'{'"},
        {"leading space", " {}", 0, 0, "'{'"},
        {"truncated JSON", "{\"a\":{\"dtype\":\"F32\"", 0, 0, "JSON"},
        {"deep nesting", NULL, 0, 0, "JSON"},
        {"text after the object", "{} x", 0, 0, "JSON"},
        {"duplicate name", "{" T("a", "U8", "[1]", "0", "1") "," T("a", "U8", "[1]", "1", "2") "}", 0, 2, "dup"},
        {"overlap", "{" T("a", "U8", "[4]", "0", "4") "," T("b", "U8", "[4]", "2", "6") "}", 0, 6, "overlaps"},
        {"same bytes twice", "{" T("a", "U8", "[4]", "0", "4") "," T("b", "U8", "[4]", "0", "4") "}", 0, 4, "overlaps"},
        {"hole", "{" T("a", "U8", "[2]", "0", "2") "," T("b", "U8", "[2]", "4", "6") "}", 0, 6, "hole"},
        {"hole at the start", "{" T("a", "U8", "[2]", "2", "4") "}", 0, 4, "hole"},
        {"trailing bytes", "{" T("a", "U8", "[2]", "0", "2") "}", 0, 5, "after the last"},
        {"data without tensors", "{}", 0, 4, "after the last"},
        {"data cut short", "{" T("a", "F32", "[4]", "0", "16") "}", 0, 12, "do not lie"},
        {"shape smaller than its bytes", "{" T("a", "F32", "[2]", "0", "16") "}", 0, 16, "takes 8"},
        {"shape larger than its bytes", "{" T("a", "F32", "[8]", "0", "16") "}", 0, 16, "takes 32"},
        {"product overflows to 0", "{" T("a", "U8", "[4294967296,4294967296]", "0", "0") "}", 0, 0, "overflows"},
        {"bytes overflow", "{" T("a", "F64", "[4611686018427387904]", "0", "0") "}", 0, 0, "overflows"},
        {"negative size", "{" T("a", "U8", "[-1]", "0", "1") "}", 0, 1, "shape[0]"},
        {"size beyond 64 bits", "{" T("a", "U8", "[99999999999999999999]", "0", "1") "}", 0, 1, "shape[0]"},
        {"fractional size", "{" T("a", "U8", "[1.0]", "0", "1") "}", 0, 1, "shape[0]"},
        {"too many dimensions", "{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "0", "1") "}", 0, 1, "dimensions"},
        {"offsets reversed", "{" T("a", "U8", "[0]", "4", "2") "}", 0, 4, "do not lie"},
        {"offset negative", "{" T("a", "U8", "[1]", "-1", "0") "}", 0, 1, "data_offsets"},
        {"offset is a string", "{" T("a", "U8", "[1]", "\"0\"", "1") "}", 0, 1, "data_offsets"},
        {"unknown type", "{" T("a", "Q9", "[1]", "0", "1") "}", 0, 1, "Q9"},
        {"type is no string", "{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,1]}}", 0, 1, "dtype"},
        {"no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 0, 1, "shape"},
        {"no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 0, 1, "data_offsets"},
        {"unknown key", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 0, 1, "unknown key"},
        {"entry is no map", "{\"a\":7}", 0, 0, "a map"},
        {"metadata is no map", "{\"__metadata__\":[]}", 0, 0, "__metadata__"},
        {"metadata holds a number", "{\"__metadata__\":{\"k\":1}}", 0, 0, "__metadata__.k"},
        {"not UTF-8", "{\"\xff\":1}", 0, 0, "JSON"},
        {"NUL in a name", "{\"a\\u0000\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 0, 1, "JSON"},
    };
    static unsigned char file[4096 + 2000];
    static char deep[2001];
    double before = sail__rss_peak_mib(), start = sail__now();
    memset(deep, '[', 2000);
    memcpy(deep, "{\"a\":", 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sail_err err = {0};
        sail__safetensors *f;
        size_t n = build(file, cases[i].header ? cases[i].header : deep, cases[i].length, cases[i].data);
        sail_code code = sail__safetensors_open_memory(file, n, "DAMAGED", &f, &err);
        if (code == SAIL_OK || !strstr(err.message, "DAMAGED") || !strstr(err.message, cases[i].word))
            fail_msg("%s: code %d, \"%s\" should hold \"%s\"", cases[i].what, code, err.message, cases[i].word);
        assert_true(code == SAIL_E_FORMAT || code == SAIL_E_PARSE || code == SAIL_E_LIMIT);
        assert_null(f);
    }
    for (size_t n = 0; n < 8; n++) { /* shorter than its header length */
        sail_err err = {0};
        sail__safetensors *f;
        assert_int_equal(sail__safetensors_open_memory(file, n, "DAMAGED", &f, &err), SAIL_E_FORMAT);
    }
    assert_true(sail__now() - start < 1);
    assert_true(sail__rss_peak_mib() - before < 256);
}

/* Every prefix of a good file is an error, and no byte of it can be changed so that reading it goes wrong. */
static void prefixes_and_changed_bytes_do_no_harm(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"}," T("a", "F32", "[2,2]", "0", "16") "," T(
        "b.c", "BF16", "[]", "16", "18") "," T("d", "I64", "[0]", "18", "18") "} ";
    unsigned char file[512];
    sail_err err = {0};
    sail__safetensors *f;
    size_t n = build(file, header, 0, 18);
    ok(sail__safetensors_open_memory(file, n, "GOOD", &f, &err), &err);
    assert_int_equal(sail__safetensors_count(f), 3);
    assert_string_equal(sail__safetensors_metadata(f, "format"), "pt");
    assert_int_equal(sail__safetensors_find(f, "b.c")->rank, 0);
    assert_int_equal(sail__safetensors_find(f, "d")->bytes, 0);
    assert_null(sail__safetensors_find(f, "e"));
    sail__safetensors_close(f);
    for (size_t i = 0; i < n; i++) {
        unsigned char *cut = malloc(i ? i : 1); /* of its exact size, so that a sanitizer sees reads beyond it */
        memcpy(cut, file, i);
        assert_true(sail__safetensors_open_memory(cut, i, "CUT", &f, &err) != SAIL_OK);
        free(cut);
    }
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            file[i] ^= (unsigned char)(1 << bit);
            if (sail__safetensors_open_memory(file, n, "CHANGED", &f, &err) == SAIL_OK)
                sail__safetensors_close(f);
            file[i] ^= (unsigned char)(1 << bit);
        }
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    char dir[] = "/tmp/sail-st-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.safetensors", dir);
    sail_err err = {0};
    float f32[6] = {1, -2, 3.5f, 0, 1e-30f, -0.0f};
    int64_t i64[2] = {-1, 1LL << 40};
    unsigned char u8[3] = {0, 7, 255};
    double f64 = 0.1;
    const sail__st_entry entries[] = {
        {"z \"quoted\"", SAIL_F32, 2, {2, 3}, f32},
        {"a", SAIL_I64, 1, {2}, i64},
        {"u", SAIL_U8, 1, {3}, u8},
        {"s", SAIL_F64, 0, {0}, &f64},
        {"none", SAIL_BF16, 2, {0, 4}, NULL},
    };
    ok(sail__safetensors_save(path, entries, 5, NULL, &err), &err);
    sail__safetensors *f;
    ok(sail__safetensors_open(path, &f, &err), &err);
    assert_int_equal(sail__safetensors_count(f), 5);
    assert_string_equal(sail__safetensors_metadata(f, "format"), "pt");
    for (size_t i = 0; i < 5; i++) {
        const sail__st_tensor *t = sail__safetensors_find(f, entries[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, entries[i].dtype);
        assert_int_equal(t->rank, entries[i].rank);
        assert_memory_equal(t->shape, entries[i].shape, sizeof t->shape[0] * (size_t)t->rank);
        if (t->bytes)
            assert_memory_equal(t->data, entries[i].data, t->bytes);
    }
    sail__safetensors_close(f);

    sail__st_writer *w; /* what is not whole does not appear, and does not replace what was there */
    ok(sail__st_begin(path, entries, 2, NULL, &w, &err), &err);
    ok(sail__st_write(w, f32, sizeof f32, &err), &err);
    assert_int_equal(sail__st_commit(w, &err), SAIL_E_BUG);
    ok(sail__safetensors_open(path, &f, &err), &err);
    assert_int_equal(sail__safetensors_count(f), 5);
    sail__safetensors_close(f);
    const sail__st_entry quantised = {"q", SAIL_Q8_0, 1, {32}, f32};
    assert_int_equal(sail__safetensors_save(path, &quantised, 1, NULL, &err), SAIL_E_DTYPE);
    ok(sail__remove_tree(dir, &err), &err);
}

static void put(const char *dir, const char *name, const char *text)
{
    char path[128];
    sail_err err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ok(sail__file_write(path, text, strlen(text), &err), &err);
}

static void an_index_must_agree_with_its_shards(void **state)
{
    (void)state;
    static const struct {
        const char *index, *word;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"1.st\"}}", "tensor b should be in 1.st"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"2.st\",\"c\":\"2.st\"}}", "tensor c"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"2.st\",\"d\":\"3.st\"}}", "3.st"},
        {"{\"weight_map\":{\"a\":\"../1.st\"}}", "weight_map.a"},
        {"{\"weight_map\":{\"a\":1}}", "weight_map.a"},
        {"{\"weight_map\":{}}", "weight_map"},
        {"{}", "weight_map"},
        {"{\"weight_map\":", "JSON"},
        {"{\"weight_map\":{\"a\":\"1.st\",\"b\":\"2.st\",\"e\":\"twice.st\"}}", "also in"},
    };
    char dir[] = "/tmp/sail-st-XXXXXX", path[64], index[64];
    assert_non_null(mkdtemp(dir));
    sail_err err = {0};
    unsigned char one = 1;
    const char *files[] = {"1.st", "2.st", "twice.st"}, *names[] = {"a", "b", "a"};
    for (int i = 0; i < 3; i++) {
        const sail__st_entry e = {names[i], SAIL_U8, 1, {1}, &one};
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        ok(sail__safetensors_save(path, &e, 1, NULL, &err), &err);
    }
    snprintf(index, sizeof index, "%s/index.json", dir);
    sail__safetensors *f;
    put(dir, "index.json", "{\"weight_map\":{\"a\":\"1.st\",\"b\":\"2.st\"}}");
    ok(sail__safetensors_open_index(index, &f, &err), &err);
    assert_int_equal(sail__safetensors_count(f), 2);
    sail__safetensors_close(f);
    put(dir, "index.json", "{\"weight_map\":{\"a\":\"1.st\"}}");
    ok(sail__safetensors_open_index(index, &f, &err), &err);
    sail__safetensors_close(f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put(dir, "index.json", cases[i].index);
        sail_code code = sail__safetensors_open_index(index, &f, &err);
        if (code == SAIL_OK || !strstr(err.message, cases[i].word) || !strstr(err.message, dir))
            fail_msg("%s: code %d, \"%s\" should hold \"%s\"", cases[i].index, code, err.message, cases[i].word);
    }
    ok(sail__remove_tree(dir, &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_files_are_refused_with_their_place),
        cmocka_unit_test(prefixes_and_changed_bytes_do_no_harm),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(an_index_must_agree_with_its_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
