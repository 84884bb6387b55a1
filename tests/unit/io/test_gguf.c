/* test_gguf.c - keys and tensors of a file built here, and one damaged file for each known class of fault. */
#include "../../golden.h"

#include "io/gguf.h"

static void ok(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

/* ---- building files ---- */

struct file {
    unsigned char data[1 << 16];
    size_t n;
};

static void number(struct file *f, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        f->data[f->n++] = (unsigned char)(v >> (8 * i));
}

static void string(struct file *f, const char *s)
{
    number(f, strlen(s), 8);
    memcpy(f->data + f->n, s, strlen(s));
    f->n += strlen(s);
}

static void start(struct file *f, uint32_t version, uint64_t tensors, uint64_t keys)
{
    f->n = 0;
    memset(f->data, 0, sizeof f->data);
    number(f, 0x46554747, 4); /* GGUF */
    number(f, version, 4);
    number(f, tensors, 8);
    number(f, keys, 8);
}

static void key(struct file *f, const char *name, uint32_t type)
{
    string(f, name);
    number(f, type, 4);
}

static void tensor(struct file *f, const char *name, int rank, uint64_t d0, uint64_t d1, uint32_t type, uint64_t offset)
{
    string(f, name);
    number(f, (uint64_t)rank, 4);
    for (int i = 0; i < rank; i++)
        number(f, i == 0 ? d0 : i == 1 ? d1 : 1, 8);
    number(f, type, 4);
    number(f, offset, 8);
}

static void data(struct file *f, size_t alignment, size_t bytes)
{
    f->n = (f->n + alignment - 1) / alignment * alignment;
    for (size_t i = 0; i < bytes; i++)
        f->data[f->n++] = (unsigned char)i;
}

/* A file that uses everything; returns it in f. */
static void good(struct file *f, uint32_t version)
{
    start(f, version, 3, 8);
    key(f, "general.architecture", SAIL__GGUF_STRING), string(f, "llama");
    key(f, "general.alignment", SAIL__GGUF_U32), number(f, 64, 4);
    key(f, "i8", SAIL__GGUF_I8), number(f, 0xfe, 1);
    key(f, "f32", SAIL__GGUF_F32), number(f, 0x3fc00000, 4);         /* 1.5 */
    key(f, "f64", SAIL__GGUF_F64), number(f, 0xc004000000000000, 8); /* -2.5 */
    key(f, "yes", SAIL__GGUF_BOOL), number(f, 1, 1);
    key(f, "strings", SAIL__GGUF_ARRAY), number(f, SAIL__GGUF_STRING, 4), number(f, 2, 8), string(f, "ab"),
        string(f, "");
    key(f, "ints", SAIL__GGUF_ARRAY), number(f, SAIL__GGUF_I16, 4), number(f, 3, 8), number(f, 1, 2),
        number(f, 0xffff, 2), number(f, 3, 2);
    tensor(f, "w", 2, 3, 2, 0, 0);      /* F32, 24 bytes */
    tensor(f, "q", 2, 64, 2, 8, 64);    /* Q8_0, 136 bytes */
    tensor(f, "x", 1, 256, 0, 16, 256); /* IQ2_XXS, not held */
    data(f, 64, 256 + 66);
}

static void keys_and_tensors_are_what_was_written(void **state)
{
    (void)state;
    static struct file f;
    for (uint32_t version = 2; version <= 3; version++) {
        good(&f, version);
        sail_err err = {0};
        sail__gguf *g;
        ok(sail__gguf_open_memory(f.data, f.n, "GOOD", &g, &err), &err);
        const char *s;
        int64_t i, seven = 7;
        double d;
        bool b;
        ok(sail__gguf_text(g, "general.architecture", NULL, true, &s, &err), &err);
        assert_string_equal(s, "llama");
        ok(sail__gguf_int(g, "i8", NULL, &i, &err), &err);
        assert_int_equal(i, -2);
        ok(sail__gguf_int(g, "absent", &seven, &i, &err), &err);
        assert_int_equal(i, 7);
        ok(sail__gguf_double(g, "f32", NULL, &d, &err), &err);
        assert_true(d == 1.5);
        ok(sail__gguf_double(g, "f64", NULL, &d, &err), &err);
        assert_true(d == -2.5);
        ok(sail__gguf_bool(g, "yes", NULL, &b, &err), &err);
        assert_true(b);
        assert_int_equal(sail__gguf_int(g, "absent", NULL, &i, &err), SAIL_E_NOTFOUND);
        assert_int_equal(sail__gguf_int(g, "f32", NULL, &i, &err), SAIL_E_FORMAT);
        assert_int_equal(sail__gguf_text(g, "i8", NULL, true, &s, &err), SAIL_E_FORMAT);
        assert_int_equal(sail__gguf_bool(g, "strings", NULL, &b, &err), SAIL_E_FORMAT);
        const sail__gguf_kv *kv = sail__gguf_get(g, "strings");
        assert_int_equal(kv->n, 2);
        assert_memory_equal(kv->strings[0].data, "ab", 2);
        assert_int_equal(kv->strings[1].len, 0);
        assert_int_equal(sail__gguf_int_at(sail__gguf_get(g, "ints"), 1), -1);
        const sail__gguf_tensor *q = sail__gguf_find(g, "q");
        assert_int_equal(q->dtype, SAIL_Q8_0);
        assert_int_equal(q->rows, 2);
        assert_int_equal(q->cols, 64);
        assert_int_equal(((const unsigned char *)q->data)[1], 65);
        assert_int_equal(sail__gguf_find(g, "x")->dtype, SAIL_DTYPE_COUNT);
        char shape[64];
        assert_string_equal(sail__gguf_shape(sail__gguf_find(g, "w"), shape, sizeof shape), "[2, 3]");
        sail__gguf_close(g);
    }
}

/* ---- damage ---- */

enum fault {
    MAGIC,
    VERSION_1,
    OTHER_ENDIAN,
    MANY_KEYS,
    MANY_TENSORS,
    KEY_BEYOND,
    EMPTY_KEY,
    KEY_TWICE,
    TYPE_UNKNOWN,
    STRING_BEYOND,
    ARRAY_BEYOND,
    ARRAY_OVERFLOW,
    STRINGS_BEYOND,
    ARRAY_OF_ARRAYS,
    ALIGNMENT_0,
    ALIGNMENT_3,
    ALIGNMENT_HUGE,
    ALIGNMENT_TEXT,
    NAME_LONG,
    RANK_0,
    RANK_5,
    RANK_HUGE,
    DIMENSION_OVERFLOW,
    PRODUCT_OVERFLOW,
    DIMENSION_NEGATIVE,
    TENSOR_TYPE,
    PARTIAL_BLOCK,
    NOT_ALIGNED,
    BEYOND,
    OFFSET_HUGE,
    OVERLAPPING,
    TENSOR_TWICE,
    NAME_NOT_TEXT,
    FAULTS
};

static const char *damage(struct file *f, enum fault fault)
{
    uint64_t alignment = fault == ALIGNMENT_0 ? 0 : fault == ALIGNMENT_3 ? 3 : 1ull << 40;
    switch (fault) {
    case MAGIC:
        good(f, 3), f->data[3] = 'E';
        return "not a GGUF";
    case VERSION_1:
        good(f, 1);
        return "version 1";
    case OTHER_ENDIAN:
        good(f, 3u << 24);
        return "big-endian";
    case MANY_KEYS:
        start(f, 3, 0, UINT64_MAX / 8);
        return "keys cannot fit";
    case MANY_TENSORS:
        start(f, 3, 1ull << 60, 0), data(f, 32, 64);
        return "tensors cannot fit";
    case KEY_BEYOND:
        start(f, 3, 0, 1), number(f, UINT64_MAX, 8), data(f, 32, 64);
        return "a key";
    case EMPTY_KEY:
        start(f, 3, 0, 1), key(f, "", SAIL__GGUF_U8), number(f, 0, 1), data(f, 32, 64);
        return "empty";
    case KEY_TWICE:
        start(f, 3, 0, 2), key(f, "a", SAIL__GGUF_U8), number(f, 0, 1), key(f, "a", SAIL__GGUF_U8), number(f, 0, 1);
        return "a occurs twice";
    case TYPE_UNKNOWN:
        start(f, 3, 0, 1), key(f, "a", 13), data(f, 32, 64);
        return "unknown type 13";
    case STRING_BEYOND:
        start(f, 3, 0, 1), key(f, "a", SAIL__GGUF_STRING), number(f, 1ull << 62, 8), data(f, 32, 64);
        return "remain";
    case ARRAY_BEYOND:
        start(f, 3, 0, 1), key(f, "a", SAIL__GGUF_ARRAY), number(f, SAIL__GGUF_U64, 4), number(f, 20, 8),
            data(f, 32, 64);
        return "20 elements";
    case ARRAY_OVERFLOW: /* 2^61 + 1 elements of 8 bytes are 8 bytes modulo 2^64 */
        start(f, 3, 0, 1), key(f, "a", SAIL__GGUF_ARRAY), number(f, SAIL__GGUF_U64, 4), number(f, (1ull << 61) + 1, 8),
            data(f, 32, 64);
        return "elements";
    case STRINGS_BEYOND:
        start(f, 3, 0, 1), key(f, "a", SAIL__GGUF_ARRAY), number(f, SAIL__GGUF_STRING, 4), number(f, 50, 8),
            data(f, 32, 64);
        return "50 strings";
    case ARRAY_OF_ARRAYS:
        start(f, 3, 0, 1), key(f, "a", SAIL__GGUF_ARRAY), number(f, SAIL__GGUF_ARRAY, 4), number(f, 1, 8),
            data(f, 32, 64);
        return "arrays of type 9";
    case ALIGNMENT_0:
    case ALIGNMENT_3:
    case ALIGNMENT_HUGE:
        start(f, 3, 1, 1), key(f, "general.alignment", SAIL__GGUF_U64), number(f, alignment, 8);
        tensor(f, "w", 1, 4, 0, 0, 0), data(f, 32, 64);
        return "general.alignment";
    case ALIGNMENT_TEXT:
        start(f, 3, 0, 1), key(f, "general.alignment", SAIL__GGUF_STRING), string(f, "32"), data(f, 32, 64);
        return "general.alignment should be";
    case NAME_LONG:
        start(f, 3, 1, 0),
            tensor(f, "12345678901234567890123456789012345678901234567890123456789012345", 1, 4, 0, 0, 0);
        data(f, 32, 64);
        return "at most 64";
    case RANK_0:
    case RANK_5:
        start(f, 3, 1, 0), tensor(f, "w", fault == RANK_0 ? 0 : 5, 1, 1, 0, 0), data(f, 32, 64);
        return "dimensions; 1 to 4";
    case RANK_HUGE:
        start(f, 3, 1, 0), string(f, "w"), number(f, 0xffffffff, 4), data(f, 32, 64);
        return "dimensions; 1 to 4";
    case DIMENSION_OVERFLOW:
        start(f, 3, 1, 0), tensor(f, "w", 2, 1ull << 40, 1ull << 40, 0, 0), data(f, 32, 64);
        return "overflows";
    case PRODUCT_OVERFLOW: /* elements fit into 63 bits, bytes do not */
        start(f, 3, 1, 0), tensor(f, "w", 1, 1ull << 62, 0, 0, 0), data(f, 32, 64);
        return "more bytes than the file";
    case DIMENSION_NEGATIVE:
        start(f, 3, 1, 0), tensor(f, "w", 1, UINT64_MAX, 0, 0, 0), data(f, 32, 64);
        return "overflows";
    case TENSOR_TYPE:
        start(f, 3, 1, 0), tensor(f, "w", 1, 4, 0, 4, 0), data(f, 32, 64);
        return "unknown type 4";
    case PARTIAL_BLOCK:
        start(f, 3, 1, 0), tensor(f, "w", 2, 16, 2, 8, 0), data(f, 32, 64);
        return "blocks of 32";
    case NOT_ALIGNED:
        start(f, 3, 1, 0), tensor(f, "w", 1, 4, 0, 0, 8), data(f, 32, 64);
        return "alignment";
    case BEYOND:
        start(f, 3, 1, 0), tensor(f, "w", 1, 17, 0, 0, 0), data(f, 32, 64);
        return "68 bytes at offset 0";
    case OFFSET_HUGE:
        start(f, 3, 1, 0), tensor(f, "w", 1, 4, 0, 0, UINT64_MAX - 31), data(f, 32, 64);
        return "at offset";
    case OVERLAPPING:
        start(f, 3, 2, 0), tensor(f, "v", 1, 16, 0, 0, 0), tensor(f, "w", 1, 8, 0, 0, 32), data(f, 32, 64);
        return "overlaps";
    case TENSOR_TWICE:
        start(f, 3, 2, 0), tensor(f, "w", 1, 8, 0, 0, 0), tensor(f, "w", 1, 8, 0, 0, 32), data(f, 32, 64);
        return "w occurs twice";
    case NAME_NOT_TEXT:
        start(f, 3, 1, 0), tensor(f, "\xff\xfe", 1, 8, 0, 0, 0), data(f, 32, 64);
        return "UTF-8";
    case FAULTS:
        break;
    }
    return "";
}

static void damaged_files_are_refused_with_their_place(void **state)
{
    (void)state;
    static struct file f;
    double before = sail__rss_peak_mib(), began = sail__now();
    for (int i = 0; i < FAULTS; i++) {
        const char *word = damage(&f, (enum fault)i);
        sail_err err = {0};
        sail__gguf *g;
        unsigned char *exact = malloc(f.n); /* so that a sanitizer sees reads beyond it */
        memcpy(exact, f.data, f.n);
        sail_code code = sail__gguf_open_memory(exact, f.n, "DAMAGED", &g, &err);
        if (code != SAIL_E_FORMAT || !strstr(err.message, "DAMAGED") || !strstr(err.message, word))
            fail_msg("fault %d: code %d, \"%s\" should hold \"%s\"", i, code, err.message, word);
        assert_null(g);
        free(exact);
    }
    assert_true(sail__now() - began < 1);
    assert_true(sail__rss_peak_mib() - before < 256);
}

static void prefixes_and_changed_bytes_do_no_harm(void **state)
{
    (void)state;
    static struct file f;
    sail_err err = {0};
    sail__gguf *g;
    good(&f, 3);
    for (size_t n = 0; n < f.n; n++) {
        unsigned char *cut = malloc(n ? n : 1);
        memcpy(cut, f.data, n);
        sail_code code = sail__gguf_open_memory(cut, n, "CUT", &g, &err);
        assert_int_equal(code, SAIL_E_FORMAT);
        free(cut);
    }
    for (size_t i = 0; i < f.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            f.data[i] ^= (unsigned char)(1 << bit);
            if (sail__gguf_open_memory(f.data, f.n, "CHANGED", &g, &err) == SAIL_OK)
                sail__gguf_close(g);
            f.data[i] ^= (unsigned char)(1 << bit);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_tensors_are_what_was_written),
        cmocka_unit_test(damaged_files_are_refused_with_their_place),
        cmocka_unit_test(prefixes_and_changed_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
