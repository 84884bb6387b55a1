/* test_checkpoint.c - checkpoints are there whole or not at all, whatever call fails, and a damage is noticed.
 *
 * The calls of a save are counted and made to fail one by one: this program defines write, fsync, … itself, and libsail
 * finds these before the C library's. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/checkpoint.h"
#include "sail/rng.h"

/* ---- fault injection ---- */

static struct faults {
    long calls, fail_at; /* counted from 1; 0: none fails */
    int error;           /* errno; -1: a short write; -2: the process is killed before the call */
    bool hit;
} faults;

static bool fails(bool is_write)
{
    if (!faults.fail_at || ++faults.calls != faults.fail_at)
        return false;
    if (faults.error == -2)
        _exit(42);
    if (faults.error == -1 && !is_write)
        return false;
    faults.hit = true;
    errno = faults.error;
    return true;
}

#define EXPORT __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
EXPORT ssize_t write(int fd, const void *data, size_t n)
{
    if (fd > 2 && fails(true)) {
        if (faults.error == -1 && n > 1)
            return REAL(write)(fd, data, n / 2);
        errno = faults.error > 0 ? faults.error : ENOSPC;
        return -1;
    }
    return REAL(write)(fd, data, n);
}
EXPORT int fsync(int fd) { return fails(false) ? -1 : REAL(fsync)(fd); }
EXPORT int rename(const char *from, const char *to) { return fails(false) ? -1 : REAL(rename)(from, to); }
EXPORT int renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
    return fails(false) ? -1 : REAL(renameat2)(a, from, b, to, flags);
}
EXPORT int mkdir(const char *path, mode_t mode) /* what is there already may fail as it likes */
{
    return access(path, F_OK) != 0 && fails(false) ? -1 : REAL(mkdir)(path, mode);
}

/* ---- fixture ---- */

typedef struct fixture {
    char dir[64];
    sail_arena *arena;
    sail_ctx *ctx;
    int warnings;
    char warning[1024];
    sail_err err;
} fixture;

static void sink(void *user, sail_log_level level, const char *message)
{
    fixture *f = user;
    f->warnings += level == SAIL_LOG_WARN;
    snprintf(f->warning, sizeof f->warning, "%s", message);
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    strcpy(f->dir, "/tmp/sail-checkpoint-XXXXXX");
    f->arena = sail__arena_new();
    f->ctx = sail_ctx_new();
    sail_ctx_set_log(f->ctx, SAIL_LOG_DEBUG, sink, f);
    memset(&faults, 0, sizeof faults);
    *state = f;
    return mkdtemp(f->dir) ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    memset(&faults, 0, sizeof faults);
    sail_ctx_free(f->ctx);
    sail__arena_free(f->arena);
    sail__remove_tree(f->dir, &f->err);
    free(f);
    return 0;
}

static void ok(fixture *f, sail_code code)
{
    if (code != SAIL_OK)
        fail_msg("%s", f->err.message);
}

static sail_code fill(fixture *f, sail__checkpoint_writer *w, int64_t step)
{
    char moments[3000];
    memset(moments, (int)step, sizeof moments);
    SAIL_TRY(sail__checkpoint_add(w, "optimizer.bin", moments, sizeof moments, &f->err));
    SAIL_TRY(sail__checkpoint_open_file(w, "adapter/adapter_model.safetensors", &f->err));
    for (int i = 0; i < 3; i++)
        SAIL_TRY(sail__checkpoint_write(w, moments, 1000, &f->err));
    SAIL_TRY(sail__checkpoint_open_file(w, "empty", &f->err));
    char path[256];
    snprintf(path, sizeof path, "%s/by_another_writer.json", sail__checkpoint_temporary(w));
    return sail__file_write(path, "{}", 2, &f->err);
}

static sail_code save(fixture *f, int64_t step)
{
    sail__checkpoint_writer *w;
    sail_node *state = sail__node_new(f->arena, SAIL_NODE_MAP, "test", 0, 0), *n = sail__node_new(f->arena, SAIL_NODE_INT, "test", 0, 0);
    n->integer = step;
    sail__node_set(f->arena, state, "step", n);
    SAIL_TRY(sail__checkpoint_begin(f->dir, step, &w, &f->err));
    sail_code code = fill(f, w, step);
    if (code != SAIL_OK) {
        sail__checkpoint_abort(w);
        return code;
    }
    return sail__checkpoint_commit(w, state, &f->err);
}

static int64_t newest(fixture *f)
{
    sail__checkpoint c;
    int64_t step;
    ok(f, sail__checkpoint_newest(f->ctx, f->arena, f->dir, -1, &c, &f->err));
    ok(f, sail__node_as_int(sail__node_get(c.state, "step"), "step", &step, &f->err));
    assert_int_equal(step, c.step);
    return step;
}

static void no_leftovers(fixture *f)
{
    char **names;
    size_t n;
    ok(f, sail__list_dir(f->arena, f->dir, &names, &n, &f->err));
    for (size_t i = 0; i < n; i++)
        assert_true(!strncmp(names[i], "step-", 5));
}

/* ---- tests ---- */

static void the_newest_is_loaded_with_its_state(void **state)
{
    fixture *f = *state;
    sail__checkpoint c;
    assert_int_equal(sail__checkpoint_newest(f->ctx, f->arena, f->dir, -1, &c, &f->err), SAIL_E_NOTFOUND);
    ok(f, save(f, 9));
    ok(f, save(f, 1000000)); /* more digits than six */
    ok(f, save(f, 200));
    assert_int_equal(newest(f), 1000000);
    ok(f, sail__checkpoint_newest(f->ctx, f->arena, f->dir, 300, &c, &f->err));
    assert_int_equal(c.step, 200);
    assert_string_equal(strrchr(c.path, '/'), "/step-000200");
    no_leftovers(f);
    ok(f, save(f, 200)); /* replaces */
    ok(f, sail__checkpoint_verify(c.path, &f->err));
    no_leftovers(f);
    assert_int_equal(f->warnings, 0);
}

static void prune_keeps_the_newest_and_those_named(void **state)
{
    fixture *f = *state;
    sail__checkpoint *list;
    size_t n;
    static const int64_t named[] = {-1, 3, 1};
    for (int i = 1; i <= 6; i++)
        ok(f, save(f, i));
    ok(f, sail__checkpoint_prune(f->dir, 2, named, 3, &f->err));
    ok(f, sail__checkpoint_list(f->arena, f->dir, &list, &n, &f->err));
    assert_int_equal(n, 4);
    assert_int_equal(list[0].step, 1);
    assert_int_equal(list[1].step, 3);
    assert_int_equal(list[2].step, 5);
    assert_int_equal(list[3].step, 6);
    no_leftovers(f);
}

static void what_came_after_a_step_is_cut_off(void **state)
{
    fixture *f = *state;
    sail__checkpoint c;
    for (int i = 1; i <= 4; i++)
        ok(f, save(f, 10 * i));
    ok(f, sail__checkpoint_cut(f->dir, 20, &f->err));
    assert_int_equal(newest(f), 20);
    ok(f, sail__checkpoint_of(f->arena, f->dir, 10, &c, &f->err));
    assert_int_equal(c.step, 10);
    assert_non_null(c.state);
    assert_int_equal(sail__checkpoint_of(f->arena, f->dir, 30, &c, &f->err), SAIL_E_NOTFOUND);
    assert_non_null(strstr(f->err.message, "no checkpoint of step 30"));
    no_leftovers(f);
}

static void names_that_leave_the_directory_are_refused(void **state)
{
    fixture *f = *state;
    sail__checkpoint_writer *w;
    ok(f, sail__checkpoint_begin(f->dir, 1, &w, &f->err));
    const char *bad[] = {"../x", "/etc/x", "a/../../x", "", "a//b", "COMPLETE", "a\nb", "."};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(sail__checkpoint_add(w, bad[i], "", 0, &f->err), SAIL_E_ARG);
    sail__checkpoint_abort(w);
    no_leftovers(f);
}

static void flip(const char *path, uint64_t bit)
{
    int fd = open(path, O_RDWR);
    unsigned char c;
    assert_int_equal(pread(fd, &c, 1, (off_t)(bit / 8)), 1);
    c ^= (unsigned char)(1 << bit % 8);
    assert_int_equal(pwrite(fd, &c, 1, (off_t)(bit / 8)), 1);
    close(fd);
}

static const char *const file_names[] = {"optimizer.bin", "adapter/adapter_model.safetensors", "by_another_writer.json", "state.json",
                                         "COMPLETE"};

static void every_flipped_bit_is_noticed(void **state)
{
    fixture *f = *state;
    ok(f, save(f, 1));
    ok(f, save(f, 2));
    for (uint64_t i = 0; i < 1000; i++) {
        char path[256];
        struct stat st;
        snprintf(path, sizeof path, "%s/step-000002/%s", f->dir, file_names[i % 5]);
        assert_int_equal(stat(path, &st), 0);
        uint64_t bit = sail_rng_below(7, SAIL_RNG_USER, i, 0, 0, (uint64_t)st.st_size * 8);
        flip(path, bit);
        f->warnings = 0;
        if (newest(f) != 1)
            fail_msg("bit %llu of %s was not noticed", (unsigned long long)bit, file_names[i % 5]);
        assert_int_equal(f->warnings, 1);
        flip(path, bit);
        sail__arena_reset(f->arena);
    }
    assert_int_equal(newest(f), 2);
    char path[256];
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/step-00000%d/optimizer.bin", f->dir, i);
        flip(path, 77);
    }
    sail__checkpoint c;
    assert_int_equal(sail__checkpoint_newest(f->ctx, f->arena, f->dir, -1, &c, &f->err), SAIL_E_FORMAT);
    assert_non_null(strstr(f->err.message, "optimizer.bin"));
}

static void missing_added_and_cut_files_are_noticed(void **state)
{
    fixture *f = *state;
    char path[256];
    for (int i = 0; i < 5; i++) {
        struct stat st;
        ok(f, save(f, 1));
        ok(f, save(f, 2));
        snprintf(path, sizeof path, "%s/step-000002/%s", f->dir, file_names[i]);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(truncate(path, st.st_size - 1), 0);
        assert_int_equal(newest(f), 1);
        unlink(path);
        assert_int_equal(newest(f), 1);
    }
    ok(f, save(f, 2));
    assert_int_equal(newest(f), 2);
    snprintf(path, sizeof path, "%s/step-000002/added", f->dir);
    ok(f, sail__file_write(path, "", 0, &f->err));
    assert_int_equal(newest(f), 1);
    assert_non_null(strstr(f->warning, "added"));
    unlink(path);
    char other[256];
    snprintf(path, sizeof path, "%s/step-000002", f->dir);
    snprintf(other, sizeof other, "%s/step-000003", f->dir);
    rename(path, other); /* not the step that it says */
    assert_int_equal(newest(f), 1);
}

/* Every call of a save fails in turn: the checkpoint before still loads, and so does the next save. */
static void sweep(fixture *f, int error, int64_t step)
{
    long k;
    for (k = 1; k < 1000; k++) {
        sail__arena_reset(f->arena);
        sail__remove_tree(f->dir, &f->err);
        assert_int_equal(mkdir(f->dir, 0777), 0);
        ok(f, save(f, 1));
        faults = (struct faults){.fail_at = k, .error = error};
        sail_code code = save(f, step);
        bool hit = faults.hit, over = faults.calls < k;
        memset(&faults, 0, sizeof faults);
        f->warnings = 0;
        if (over)
            break;
        if (hit && error > 0) {
            if (code == SAIL_OK)
                fail_msg("call %ld failed unnoticed", k);
            assert_non_null(strstr(f->err.message, f->dir));
            assert_non_null(strstr(f->err.message, strerror(error)));
        } else {
            ok(f, code);
        }
        int64_t got = newest(f);
        assert_true(got == step || (got == 1 && code != SAIL_OK));
        assert_int_equal(f->warnings, 0);
        ok(f, save(f, step));
        assert_int_equal(newest(f), step);
        no_leftovers(f);
    }
    assert_true(k > 15);
}

static void any_failing_call_leaves_the_last_good_one(void **state)
{
    sweep(*state, ENOSPC, 2);
    sweep(*state, EIO, 2);
    sweep(*state, EIO, 1); /* replaces the only one */
}

static void short_writes_are_continued(void **state) { sweep(*state, -1, 2); }

static void killed_at_any_call_the_last_good_one_loads(void **state)
{
    fixture *f = *state;
    for (int64_t step = 1; step <= 2; step++) {
        int status = 0;
        for (long k = 1; k < 1000; k++) {
            sail__arena_reset(f->arena);
            sail__remove_tree(f->dir, &f->err);
            assert_int_equal(mkdir(f->dir, 0777), 0);
            ok(f, save(f, 1));
            pid_t child = fork();
            if (child == 0) {
                faults = (struct faults){.fail_at = k, .error = -2};
                _exit(save(f, step) == SAIL_OK ? 0 : 1);
            }
            waitpid(child, &status, 0);
            assert_true(WIFEXITED(status));
            if (WEXITSTATUS(status) == 0)
                break;
            assert_int_equal(WEXITSTATUS(status), 42);
            f->warnings = 0;
            int64_t got = newest(f);
            assert_true(got == 1 || got == step);
            assert_int_equal(f->warnings, 0);
            ok(f, save(f, 3));
            no_leftovers(f);
        }
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_newest_is_loaded_with_its_state),
        T(prune_keeps_the_newest_and_those_named),
        T(what_came_after_a_step_is_cut_off),
        T(names_that_leave_the_directory_are_refused),
        T(every_flipped_bit_is_noticed),
        T(missing_added_and_cut_files_are_noticed),
        T(any_failing_call_leaves_the_last_good_one),
        T(short_writes_are_continued),
        T(killed_at_any_call_the_last_good_one_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
