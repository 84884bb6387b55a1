/* test_file.c - files that are wholly old or wholly new, paths, directories, and what goes wrong with them. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"

struct place {
    char dir[64];
    sail_arena *a;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    strcpy(p->dir, "/tmp/sail-file-XXXXXX");
    p->a = sail__arena_new();
    *state = p;
    return mkdtemp(p->dir) ? 0 : -1;
}

static int teardown(void **state)
{
    struct place *p = *state;
    sail_code code = sail__remove_tree(p->dir, NULL);
    sail__arena_free(p->a);
    free(p);
    return code == SAIL_OK ? 0 : -1;
}

static char *in(struct place *p, const char *name)
{
    return sail__path_join(p->a, p->dir, name);
}

static void write_text(const char *path, const char *text)
{
    sail_err err = {0};
    if (sail__file_write(path, text, strlen(text), &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

static void expect_text(const char *path, const char *text)
{
    char *data;
    size_t size;
    sail_err err = {0};
    if (sail__file_read(path, 1 << 20, &data, &size, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_int_equal(size, strlen(text));
    assert_string_equal(data, text);
    sail__free(data);
}

static size_t files_in(struct place *p)
{
    char **names;
    size_t n;
    assert_int_equal(sail__list_dir(p->a, p->dir, &names, &n, NULL), SAIL_OK);
    return n;
}

static void what_is_written_is_read(void **state)
{
    struct place *p = *state;
    char *path = in(p, "a.txt");
    write_text(path, "one");
    expect_text(path, "one");
    write_text(path, "");
    expect_text(path, "");
    assert_int_equal(files_in(p), 1); /* no temporary file is left */
    sail_mapping m;
    assert_int_equal(sail__file_map(path, &m, NULL), SAIL_OK);
    assert_true(m.data == NULL && m.size == 0);
    sail__file_unmap(&m);
    write_text(path, "mapped");
    assert_int_equal(sail__file_map(path, &m, NULL), SAIL_OK);
    assert_memory_equal(m.data, "mapped", 6);
    sail__file_unmap(&m);
}

static void pieces_make_a_whole(void **state)
{
    struct place *p = *state;
    char *path = in(p, "b.bin"), *data;
    size_t size, want = 0;
    sail_atomic *f;
    static unsigned char piece[150000];
    for (size_t i = 0; i < sizeof piece; i++)
        piece[i] = (unsigned char)(i * 7 + i / 251);
    assert_int_equal(sail__atomic_begin(path, &f, NULL), SAIL_OK);
    for (size_t n = 1; n < sizeof piece; n = n * 3 + 1) {
        assert_int_equal(sail__atomic_write(f, piece, n, NULL), SAIL_OK);
        want += n;
    }
    assert_false(sail__file_exists(path)); /* before the commit there is nothing */
    assert_int_equal(sail__atomic_commit(f, NULL), SAIL_OK);
    assert_int_equal(sail__file_read(path, 1 << 20, &data, &size, NULL), SAIL_OK);
    assert_int_equal(size, want);
    size_t at = 0;
    for (size_t n = 1; n < sizeof piece; n = n * 3 + 1) {
        assert_memory_equal(data + at, piece, n);
        at += n;
    }
    sail__free(data);
}

static void aborted_write_leaves_the_old_file(void **state)
{
    struct place *p = *state;
    char *path = in(p, "c.txt");
    sail_atomic *f;
    write_text(path, "old");
    assert_int_equal(sail__atomic_begin(path, &f, NULL), SAIL_OK);
    assert_int_equal(sail__atomic_write(f, "new", 3, NULL), SAIL_OK);
    sail__atomic_abort(f);
    expect_text(path, "old");
    assert_int_equal(files_in(p), 1);
    sail__atomic_abort(NULL);
}

static void mode_and_links_are_kept(void **state)
{
    struct place *p = *state;
    struct stat st;
    char *path = in(p, "d.txt"), *link = in(p, "link");
    write_text(path, "x");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink(path, link), 0);
    write_text(link, "through the link");
    expect_text(path, "through the link");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void full_disk_is_told_and_leaves_the_old_file(void **state)
{
    struct place *p = *state;
    char *path = in(p, "e.txt");
    write_text(path, "old");
    /* a limit on file sizes stands in for a full disk; in a child, since a limit cannot be raised again */
    pid_t pid = fork();
    if (pid == 0) {
        static char big[300000];
        sail_err err = {0};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, 100000});
        sail_code code = sail__file_write(path, big, sizeof big, &err);
        _exit(code == SAIL_E_IO && strstr(err.message, path) && strstr(err.message, strerror(EFBIG)) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_text(path, "old");
    assert_int_equal(files_in(p), 1);
    sail_err err = {0};
    assert_int_equal(sail__file_write("/dev/full", "x", 1, &err), SAIL_E_IO);
    assert_string_equal(err.message, "/dev/full: cannot write: No space left on device");
}

static void errors_name_the_path_and_the_reason(void **state)
{
    struct place *p = *state;
    char *data;
    size_t size;
    sail_err err = {0};
    sail_mapping m;
    char *absent = in(p, "absent"), *deep = in(p, "absent/x");
    assert_int_equal(sail__file_read(absent, 10, &data, &size, &err), SAIL_E_NOTFOUND);
    assert_non_null(strstr(err.message, absent));
    assert_non_null(strstr(err.message, strerror(ENOENT)));
    assert_null(data);
    assert_int_equal(sail__file_map(absent, &m, &err), SAIL_E_NOTFOUND);
    assert_int_equal(sail__file_map(p->dir, &m, &err), SAIL_E_IO);
    assert_non_null(strstr(err.message, "directory"));
    assert_int_equal(sail__file_map("/dev/null", &m, &err), SAIL_E_IO);
    assert_int_equal(sail__file_write(deep, "x", 1, &err), SAIL_E_IO);
    assert_non_null(strstr(err.message, deep));
    assert_int_equal(sail__file_write(p->dir, "x", 1, &err), SAIL_E_IO);
    write_text(in(p, "f"), "12345");
    assert_int_equal(sail__file_read(in(p, "f"), 4, &data, &size, &err), SAIL_E_LIMIT);
    assert_int_equal(sail__file_read(in(p, "f"), 5, &data, &size, &err), SAIL_OK);
    sail__free(data);
    assert_int_equal(sail__file_read("/dev/zero", 100000, &data, &size, &err), SAIL_E_LIMIT);
    assert_int_equal(sail__make_dirs(in(p, "f/g"), &err), SAIL_E_IO);
    assert_non_null(strstr(err.message, "is a file"));
    char **names;
    assert_int_equal(sail__list_dir(p->a, absent, &names, &size, &err), SAIL_E_NOTFOUND);
    assert_int_equal(sail__sync_dir(absent, &err), SAIL_E_IO);
}

static void directories_are_made_listed_and_removed(void **state)
{
    struct place *p = *state;
    char **names;
    size_t n;
    sail_err err = {0};
    assert_int_equal(sail__make_dirs(in(p, "x/y//z/"), &err), SAIL_OK);
    assert_int_equal(sail__make_dirs(in(p, "x/y/z"), &err), SAIL_OK);
    write_text(in(p, "x/b"), "b");
    write_text(in(p, "x/a"), "a");
    write_text(in(p, "keep"), "k");
    assert_int_equal(symlink(in(p, "keep"), in(p, "x/link")), 0);
    assert_int_equal(symlink(p->dir, in(p, "x/y/up")), 0);
    assert_int_equal(sail__list_dir(p->a, in(p, "x"), &names, &n, &err), SAIL_OK);
    assert_int_equal(n, 4);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[3], "y");
    if (sail__remove_tree(in(p, "x"), &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_false(sail__is_dir(in(p, "x")));
    expect_text(in(p, "keep"), "k"); /* links are removed, not followed */
    assert_int_equal(sail__remove_tree(in(p, "x"), &err), SAIL_OK);
    assert_int_equal(sail__remove_tree(in(p, "keep"), &err), SAIL_OK);
    assert_int_equal(files_in(p), 0);
}

static void paths_are_joined(void **state)
{
    struct place *p = *state;
    setenv("HOME", "/home/me", 1);
    assert_string_equal(sail__path_join(p->a, "a/b", "c"), "a/b/c");
    assert_string_equal(sail__path_join(p->a, "a/", "c"), "a/c");
    assert_string_equal(sail__path_join(p->a, "a", "/c"), "/c");
    assert_string_equal(sail__path_join(p->a, "a", "~/c"), "/home/me/c");
    assert_string_equal(sail__path_join(p->a, "a", "~c"), "a/~c");
    assert_string_equal(sail__path_join(p->a, ".", "c"), "c");
    assert_string_equal(sail__path_dir(p->a, "a/b/c"), "a/b");
    assert_string_equal(sail__path_dir(p->a, "/c"), "/");
    assert_string_equal(sail__path_dir(p->a, "c"), ".");
    assert_string_equal(sail__path_base("a/b/c"), "c");
    assert_string_equal(sail__path_base("c"), "c");
}

static void failing_allocations_leave_no_file(void **state)
{
    struct place *p = *state;
    char *path = in(p, "g.txt");
    bool done = false;
    for (long k = 1; k < 50 && !done; k++) {
        sail_err err = {0};
        sail__alloc_fail_at(k);
        sail_code code = sail__file_write(path, "x", 1, &err);
        done = sail__alloc_fail_at(0) > 0;
        assert_int_equal(code, done ? SAIL_OK : SAIL_E_NOMEM);
        if (!sail__file_exists(path))
            assert_int_equal(files_in(p), 0);
    }
    assert_true(done);
}

static void clocks_go_forward(void **state)
{
    (void)state;
    double a = sail__now(), b = sail__now();
    assert_true(b >= a);
    assert_true(sail__wall_time() > 1.6e9);
    assert_true(sail__rss_peak_mib() > 0.5);
}

#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(what_is_written_is_read),
        IN_DIR(pieces_make_a_whole),
        IN_DIR(aborted_write_leaves_the_old_file),
        IN_DIR(mode_and_links_are_kept),
        IN_DIR(full_disk_is_told_and_leaves_the_old_file),
        IN_DIR(errors_name_the_path_and_the_reason),
        IN_DIR(directories_are_made_listed_and_removed),
        IN_DIR(paths_are_joined),
        IN_DIR(failing_allocations_leave_no_file),
        cmocka_unit_test(clocks_go_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
