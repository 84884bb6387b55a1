/* test_store.c - the run store: what is written comes back, is taken back on resume, and is refused when it is not ours. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/store.h"

typedef struct fixture {
    char dir[64], path[96];
    sail_arena *arena;
    sail__store *store;
    sail_err err;
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/sail-store-XXXXXX");
    if (!f || !mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/run.db", f->dir);
    f->arena = sail__arena_new();
    *state = f;
    return sail__store_open(f->path, SAIL__STORE_CREATE, &f->store, &f->err) == SAIL_OK ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    sail__store_close(f->store);
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

static void add(fixture *f, const char *stage, int64_t step, double loss)
{
    const char *names[] = {"loss", "logps/chosen", "time/step"};
    double values[] = {loss, -10 * loss, (double)rand()};
    ok(f, sail__store_add_metrics(f->store, stage, step, names, values, 3, &f->err));
}

static void metrics_come_back_in_order(void **state)
{
    fixture *f = *state;
    add(f, "sft", 0, 3.5);
    add(f, "align", 0, 0.25);
    add(f, "sft", 1, NAN);
    add(f, "sft", 2, -INFINITY);
    add(f, "sft", 2, 7); /* replaces */
    sail__metric_row *rows;
    size_t n;
    ok(f, sail__store_metrics(f->store, f->arena, NULL, "loss", &rows, &n, &f->err));
    assert_int_equal(n, 4);
    assert_string_equal(rows[0].stage, "sft");
    assert_true(rows[0].value == 3.5 && rows[0].step == 0);
    assert_true(isnan(rows[1].value) && rows[1].step == 1);
    assert_true(rows[2].value == 7 && rows[2].step == 2);
    assert_string_equal(rows[3].stage, "align");
    assert_true(fabs(rows[3].time - sail__wall_time()) < 60);
    ok(f, sail__store_metrics(f->store, f->arena, "align", NULL, &rows, &n, &f->err));
    assert_int_equal(n, 3);
    assert_string_equal(rows[1].name, "loss");
}

static sail__sample sample(const char *stage, int64_t step, int64_t index, sail__sample_response *r)
{
    static const int32_t prompt[] = {5, 6, 7}, first[] = {8, 2}, second[] = {9, 10, 2};
    static const float logps[] = {-0.5f, -INFINITY};
    static const float ref[] = {-0.75f, -2};
    static const uint32_t ends[] = {2, 3};
    r[0] = (sail__sample_response){first, 2, "yes", logps, "policy", 1.5, ref, ends};
    r[1] = (sail__sample_response){second, 3, NULL, NULL, "data", NAN};
    return (sail__sample){.stage = stage, .step = step, .index = index, .kind = "train", .route = "dpp", .prompt_ids = prompt,
                          .n_prompt = 3, .prompt = "caf\xc3\xa9 <b>", .outcome = 1, .k = 2, .responses = r};
}

static void samples_keep_tokens_logprobs_and_labels(void **state)
{
    fixture *f = *state;
    sail__sample_response r[2], r2[2];
    sail__sample s[] = {sample("align", 4, 1, r), sample("align", 4, 0, r2)};
    ok(f, sail__store_add_samples(f->store, s, 2, &f->err));
    ok(f, sail__store_add_samples(f->store, s, 1, &f->err)); /* replaces */
    sail__sample *out;
    size_t n;
    ok(f, sail__store_samples(f->store, f->arena, "align", "train", 0, 9, 0, &out, &n, &f->err));
    assert_int_equal(n, 2);
    const sail__sample *p = &out[1];
    assert_int_equal(p->index, 1);
    assert_int_equal(p->n_prompt, 3);
    assert_int_equal(p->prompt_ids[2], 7);
    assert_string_equal(p->prompt, "caf\xc3\xa9 <b>");
    assert_string_equal(p->route, "dpp");
    assert_int_equal(p->outcome, 1);
    assert_int_equal(p->k, 2);
    assert_int_equal(p->responses[0].n, 2);
    assert_int_equal(p->responses[0].ids[0], 8);
    assert_true(p->responses[0].logps[0] == -0.5f && isinf(p->responses[0].logps[1]));
    assert_true(p->responses[0].score == 1.5 && isnan(p->responses[1].score));
    assert_null(p->responses[1].text);
    assert_null(p->responses[1].logps);
    assert_true(p->responses[0].ref[0] == -0.75f && p->responses[0].ref[1] == -2 && p->responses[0].ends[0] == 2 && p->responses[0].ends[1] == 3);
    assert_true(!p->responses[1].ref && !p->responses[1].ends);
    assert_int_equal(p->responses[1].ids[1], 10);
    ok(f, sail__store_samples(f->store, f->arena, NULL, NULL, 5, 9, 0, &out, &n, &f->err));
    assert_int_equal(n, 0);
}

static void verdicts_are_found_by_content(void **state)
{
    fixture *f = *state;
    const char *yes[] = {"ab", "c"}, *no[] = {"a", "bc"};
    sail__verdict_row v = {.outcome = 1, .k = 2, .score = {0.1, NAN}, .provenance = "length", .seconds = 0.5}, *out;
    char other[33];
    sail__verdict_key("length", "", "p", yes, 2, v.key);
    sail__verdict_key("length", "", "p", no, 2, other);
    assert_string_not_equal(v.key, other);
    assert_int_equal(strlen(v.key), 32);
    ok(f, sail__store_add_verdicts(f->store, &v, 1, &f->err));
    v.outcome = 0;
    ok(f, sail__store_add_verdicts(f->store, &v, 1, &f->err)); /* the first label stays */
    size_t n;
    ok(f, sail__store_verdicts(f->store, f->arena, v.key, &out, &n, &f->err));
    assert_int_equal(n, 1);
    assert_int_equal(out->outcome, 1);
    assert_int_equal(out->k, 2);
    assert_true(out->score[0] == 0.1 && isnan(out->score[1]));
    assert_string_equal(out->provenance, "length");
    ok(f, sail__store_verdicts(f->store, f->arena, other, &out, &n, &f->err));
    assert_int_equal(n, 0);
}

/* By the index: to read through all of them would take some hundred times as long. */
static void a_verdict_is_found_among_many(void **state)
{
    enum { MANY = 10000, ASKED = 2000 };
    fixture *f = *state;
    sail__verdict_row *rows = sail__arena_array(f->arena, MANY, sizeof *rows), *out;
    assert_non_null(rows);
    for (int i = 0; i < MANY; i++) {
        rows[i] = (sail__verdict_row){.outcome = i % 2, .k = 2, .provenance = "reward"};
        snprintf(rows[i].key, sizeof rows[i].key, "%032x", (unsigned)i * 2654435761u);
    }
    ok(f, sail__store_add_verdicts(f->store, rows, MANY, &f->err));
    const double start = sail__now();
    for (int i = 0; i < ASKED; i++) {
        size_t n;
        ok(f, sail__store_verdicts(f->store, f->arena, rows[i * 4 + 1].key, &out, &n, &f->err));
        assert_int_equal(n, 1);
        assert_int_equal(out[0].outcome, 1);
    }
    const double each = (sail__now() - start) / ASKED;
    print_message("%.1f us a verdict\n", 1e6 * each);
    assert_true(each < 500e-6);
}

static void cut_takes_back_the_stage_and_those_after_it(void **state)
{
    fixture *f = *state;
    sail__sample_response r[2];
    for (int i = 0; i < 5; i++)
        add(f, "sft", i, i);
    for (int i = 0; i < 5; i++) {
        sail__sample s = sample("align", i, 0, r);
        add(f, "align", i, i);
        ok(f, sail__store_add_samples(f->store, &s, 1, &f->err));
        ok(f, sail__store_add_event(f->store, "align", i, "guard", "skipped", &f->err));
    }
    add(f, "eval", 0, 1);
    ok(f, sail__store_cut(f->store, "align", 2, &f->err));
    sail__metric_row *rows;
    sail__sample *samples;
    sail__event_row *events;
    size_t n;
    ok(f, sail__store_metrics(f->store, f->arena, NULL, "loss", &rows, &n, &f->err));
    assert_int_equal(n, 5 + 3);
    assert_int_equal(rows[7].step, 2);
    ok(f, sail__store_samples(f->store, f->arena, NULL, NULL, 0, 99, 0, &samples, &n, &f->err));
    assert_int_equal(n, 3);
    ok(f, sail__store_events(f->store, f->arena, &events, &n, &f->err));
    assert_int_equal(n, 3);
    assert_string_equal(events[2].kind, "guard");
    assert_string_equal(events[2].message, "skipped");
    ok(f, sail__store_cut(f->store, "sft", -1, &f->err));
    ok(f, sail__store_metrics(f->store, f->arena, NULL, NULL, &rows, &n, &f->err));
    assert_int_equal(n, 0);
}

static void hash_is_that_of_an_uninterrupted_run(void **state)
{
    fixture *f = *state;
    char whole[33], cut[33], other[33];
    sail__sample_response r[2];
    for (int i = 0; i < 4; i++)
        add(f, "align", i, i);
    sail__sample s = sample("align", 3, 0, r);
    ok(f, sail__store_add_samples(f->store, &s, 1, &f->err));
    ok(f, sail__store_hash(f->store, whole, &f->err));
    ok(f, sail__store_cut(f->store, "align", 1, &f->err));
    ok(f, sail__store_hash(f->store, cut, &f->err));
    assert_string_not_equal(whole, cut);
    ok(f, sail__store_add_event(f->store, "align", 1, "resume", "", &f->err));
    for (int i = 2; i < 4; i++)
        add(f, "align", i, i); /* time/step differs */
    ok(f, sail__store_add_samples(f->store, &s, 1, &f->err));
    ok(f, sail__store_hash(f->store, cut, &f->err));
    assert_string_equal(whole, cut);
    r[0].score = 1.25;
    ok(f, sail__store_add_samples(f->store, &s, 1, &f->err));
    ok(f, sail__store_hash(f->store, other, &f->err));
    assert_string_not_equal(whole, other);
}

static void info_is_replaced(void **state)
{
    fixture *f = *state;
    const char *value;
    ok(f, sail__store_set_info(f->store, "seed", "7", &f->err));
    ok(f, sail__store_set_info(f->store, "seed", "8", &f->err));
    ok(f, sail__store_get_info(f->store, f->arena, "seed", &value, &f->err));
    assert_string_equal(value, "8");
    ok(f, sail__store_get_info(f->store, f->arena, "none", &value, &f->err));
    assert_null(value);
    ok(f, sail__store_sync(f->store, &f->err));
}

static void a_second_writer_is_refused_and_readers_are_not(void **state)
{
    fixture *f = *state;
    sail__store *other;
    assert_int_equal(sail__store_open(f->path, SAIL__STORE_CREATE, &other, &f->err), SAIL_E_EXISTS);
    assert_int_equal(sail__store_open(f->path, SAIL__STORE_WRITE, &other, &f->err), SAIL_E_STATE);
    assert_non_null(strstr(f->err.message, f->path));
    add(f, "sft", 0, 1);
    ok(f, sail__store_open(f->path, SAIL__STORE_READ, &other, &f->err));
    sail__metric_row *rows;
    size_t n;
    ok(f, sail__store_metrics(other, f->arena, NULL, NULL, &rows, &n, &f->err));
    assert_int_equal(n, 3);
    const char *names[] = {"x"};
    double one = 1;
    assert_int_equal(sail__store_add_metrics(other, "sft", 1, names, &one, 1, &f->err), SAIL_E_STATE);
    sail__store_close(other);
}

static void set_header(const char *path, long at, unsigned value) /* big-endian field of the file's header */
{
    FILE *file = fopen(path, "r+b");
    unsigned char b[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8), (unsigned char)value};
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    fwrite(b, 1, 4, file);
    fclose(file);
}

static void other_files_and_newer_stores_are_refused(void **state)
{
    fixture *f = *state;
    sail__store_close(f->store);
    set_header(f->path, 60, 99); /* user_version */
    assert_int_equal(sail__store_open(f->path, SAIL__STORE_READ, &f->store, &f->err), SAIL_E_FORMAT);
    assert_non_null(strstr(f->err.message, "newer sail"));
    assert_non_null(strstr(f->err.message, "99"));
    set_header(f->path, 60, 1);
    set_header(f->path, 68, 1234); /* application_id */
    assert_int_equal(sail__store_open(f->path, SAIL__STORE_WRITE, &f->store, &f->err), SAIL_E_FORMAT);
    assert_non_null(strstr(f->err.message, "not a run store"));
    ok(f, sail__file_write(f->path, "no database at all, but long enough to look at", 46, &f->err));
    assert_int_equal(sail__store_open(f->path, SAIL__STORE_READ, &f->store, &f->err), SAIL_E_FORMAT);
    unlink(f->path);
    assert_int_equal(sail__store_open(f->path, SAIL__STORE_READ, &f->store, &f->err), SAIL_E_NOTFOUND);
}

/* A store as an older sail wrote it: without what later versions have more. */
static void make_older(const char *path, const char *without)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, without, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_store_of_an_older_sail_is_read_and_goes_on(void **state)
{
    fixture *f = *state;
    sail__sample_response r[2];
    sail__sample s = sample("align", 1, 0, r), *out;
    size_t n;
    ok(f, sail__store_add_samples(f->store, &s, 1, &f->err));
    sail__store_close(f->store);
    make_older(f->path, "ALTER TABLE responses DROP COLUMN ref; ALTER TABLE responses DROP COLUMN ends; PRAGMA user_version=2");
    ok(f, sail__store_open(f->path, SAIL__STORE_READ, &f->store, &f->err));
    ok(f, sail__store_samples(f->store, f->arena, NULL, NULL, 0, 9, 0, &out, &n, &f->err));
    assert_true(n == 1 && out[0].k == 2 && out[0].responses[0].logps && !out[0].responses[0].ref);
    sail__store_close(f->store);
    make_older(f->path, "ALTER TABLE verdicts DROP COLUMN version; ALTER TABLE verdicts DROP COLUMN ord; ALTER TABLE verdicts DROP COLUMN reply;"
                        "ALTER TABLE verdicts DROP COLUMN prompt_tokens; ALTER TABLE verdicts DROP COLUMN reply_tokens;"
                        "ALTER TABLE verdicts DROP COLUMN requests; DROP TABLE replies; DROP TABLE questions; PRAGMA user_version=1");
    ok(f, sail__store_open(f->path, SAIL__STORE_WRITE, &f->store, &f->err));
    s.step = 2;
    ok(f, sail__store_add_samples(f->store, &s, 1, &f->err));
    ok(f, sail__store_samples(f->store, f->arena, NULL, NULL, 0, 9, 0, &out, &n, &f->err));
    assert_true(n == 2 && !out[0].responses[0].ref && out[1].responses[0].ref[0] == -0.75f);
    ok(f, sail__store_remember(f->store, "k", "v", &f->err));
}

static void a_killed_writer_loses_no_committed_step(void **state)
{
    fixture *f = *state;
    sail__store_close(f->store);
    int pipe_fd[2];
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t child = fork();
    if (child == 0) {
        sail__store *s;
        sail_err err;
        const char *names[] = {"loss"};
        if (sail__store_open(f->path, SAIL__STORE_WRITE, &s, &err) != SAIL_OK)
            _exit(1);
        for (int64_t i = 0;; i++) {
            double v = (double)i;
            if (sail__store_add_metrics(s, "sft", i, names, &v, 1, &err) != SAIL_OK || write(pipe_fd[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
    }
    close(pipe_fd[1]);
    int64_t last = -1, i;
    while (last < 40 && read(pipe_fd[0], &i, sizeof i) == (ssize_t)sizeof i)
        last = i;
    kill(child, SIGKILL);
    while (read(pipe_fd[0], &i, sizeof i) == (ssize_t)sizeof i)
        last = i;
    close(pipe_fd[0]);
    waitpid(child, NULL, 0);
    assert_true(last >= 40);
    ok(f, sail__store_open(f->path, SAIL__STORE_WRITE, &f->store, &f->err));
    sail__metric_row *rows;
    size_t n;
    ok(f, sail__store_metrics(f->store, f->arena, NULL, NULL, &rows, &n, &f->err));
    assert_true((int64_t)n >= last + 1);
    for (size_t k = 0; k < n; k++)
        assert_true(rows[k].step == (int64_t)k && rows[k].value == (double)k);
}

static void a_full_disk_is_said_and_loses_nothing(void **state)
{
    fixture *f = *state;
    sail__store_close(f->store);
    f->store = NULL;
    ok(f, sail__store_open(f->path, SAIL__STORE_WRITE, &f->store, &f->err));
    add(f, "sft", 0, 1);
    struct rlimit was, small = {200 << 10, 0};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small.rlim_max = was.rlim_max;
    void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    char *big = calloc(1, 300 << 10);
    memset(big, 'x', (300 << 10) - 1);
    sail_code code = sail__store_set_info(f->store, "big", big, &f->err);
    setrlimit(RLIMIT_FSIZE, &was);
    signal(SIGXFSZ, old);
    free(big);
    assert_int_equal(code, SAIL_E_IO);
    assert_non_null(strstr(f->err.message, f->path));
    add(f, "sft", 1, 2); /* goes on when there is room again */
    sail__metric_row *rows;
    size_t n;
    ok(f, sail__store_metrics(f->store, f->arena, NULL, "loss", &rows, &n, &f->err));
    assert_int_equal(n, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(metrics_come_back_in_order),
        T(samples_keep_tokens_logprobs_and_labels),
        T(verdicts_are_found_by_content),
        T(a_verdict_is_found_among_many),
        T(cut_takes_back_the_stage_and_those_after_it),
        T(hash_is_that_of_an_uninterrupted_run),
        T(info_is_replaced),
        T(a_second_writer_is_refused_and_readers_are_not),
        T(other_files_and_newer_stores_are_refused),
        T(a_store_of_an_older_sail_is_read_and_goes_on),
        T(a_killed_writer_loses_no_committed_step),
        T(a_full_disk_is_said_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
