/* test_digest.c - SHA-256 and SHA-1 against the examples of FIPS 180-4 and git, in whatever pieces the bytes come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "sail/digest.h"

static const char *digest(sail_digest_kind kind, const char *text, size_t n, size_t piece, char hex[65])
{
    sail_digest d;
    sail_digest_begin(&d, kind);
    for (size_t at = 0; at < n; at += piece)
        sail_digest_add(&d, text + at, n - at < piece ? n - at : piece);
    sail_digest_hex(&d, hex);
    return hex;
}

static void the_standards_examples(void **state)
{
    static const char two[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    char hex[65];
    for (int i = 0; i < 2; i++) { /* with the processor's instructions, where it has them, and without */
        sail_digest_kind kind = i ? SAIL_SHA256_PLAIN : SAIL_SHA256;
        assert_string_equal(digest(kind, "", 0, 1, hex), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_string_equal(digest(kind, "abc", 3, 3, hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_string_equal(digest(kind, two, 56, 56, hex), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
    assert_string_equal(digest(SAIL_SHA1, "", 0, 1, hex), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_string_equal(digest(SAIL_SHA1, "abc", 3, 3, hex), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_string_equal(digest(SAIL_SHA1, two, 56, 56, hex), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    assert_string_equal(digest(SAIL_SHA1, "blob 6\0hello\n", 13, 13, hex), "ce013625030ba8dba906f756967f9e9ca394464a"); /* git hash-object */
}

static void a_million_letters(void **state)
{
    char text[1000], hex[65];
    memset(text, 'a', sizeof text);
    sail_digest d[3];
    for (int k = 0; k < 3; k++) {
        sail_digest_begin(&d[k], (sail_digest_kind)k);
        for (int i = 0; i < 1000; i++)
            sail_digest_add(&d[k], text, sizeof text);
    }
    sail_digest_hex(&d[0], hex);
    assert_string_equal(hex, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    sail_digest_hex(&d[1], hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    sail_digest_hex(&d[1], hex); /* asking changes nothing */
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    sail_digest_hex(&d[2], hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void pieces_do_not_matter(void **state)
{
    char text[300], whole[65], hex[65];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7);
    for (int kind = 0; kind < 3; kind++)
        for (size_t n = 0; n <= sizeof text; n++) { /* every place that a block can end at */
            digest(kind, text, n, sizeof text, whole);
            for (size_t piece = 1; piece < 130; piece += 9)
                assert_string_equal(digest(kind, text, n, piece, hex), whole);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_standards_examples),
        cmocka_unit_test(a_million_letters),
        cmocka_unit_test(pieces_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
