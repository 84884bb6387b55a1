/* cmd_judge.c - sail judge: a person says which of two responses is better.
 *
 * The questions are what a run with `judge: person` left open, or (--samples) the responses its evaluations kept. Every key
 * is on the disk before the next pair is shown, so that leaving and coming back loses nothing. Keys come from the terminal one by
 * one, or from a pipe, where white space does not count. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "align/stats.h"
#include "cli.h"
#include "io/store.h"
#include "sail/preference.h"
#include "sail/rng.h"

struct judge_options {
    bool samples, go_on;
    const char *output, *name;
    int64_t seed;
};
#define T struct judge_options
static const sail_opt options[] = {
    SAIL_OPT_BOOL(T, samples, .help = "compare the pairs of responses that the run's evaluations kept, and tell the win rate"),
    SAIL_OPT_BOOL(T, go_on, .help = "resume the run when nothing is left to answer, and ask again when it waits again"),
    SAIL_OPT_STR(T, output, .flags = SAIL_OPT_PATH, .unit = "FILE", .help = "write all answers there as JSONL, for the judge replay"),
    SAIL_OPT_STR(T, name, .def_str = "person", .help = "whose answers these are (--samples)"),
    SAIL_OPT_INT(T, seed, .min = 0, .max = 1e15, .help = "of the order in which the two responses are shown (--samples)"),
    {0},
};
#undef T

typedef struct session {
    sail__cli *c;
    const struct judge_options *o;
    sail__store *store;
    sail_arena *arena; /* of the questions as they were read */
    sail__question *q;
    size_t n;
    size_t *done, n_done; /* answered here, for undo */
    bool left;            /* the person went away */
    struct termios was;
    bool raw;
} session;

/* ---- keys ---- */

static void set_keys(session *s)
{
    struct termios t;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &s->was) != 0)
        return;
    t = s->was;
    t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    s->raw = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

static void reset_keys(session *s)
{
    if (s->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &s->was);
    s->raw = false;
}

/* The next key that is none of white space; 0: there is no more. */
static int next_key(session *s)
{
    unsigned char key;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, &key, 1);
        if (n < 0 && errno == EINTR && !sail_cancelled(s->c->ctx))
            continue;
        if (n != 1 || sail_cancelled(s->c->ctx) || key == 4) /* 4: Ctrl-D */
            return 0;
        if (key > ' ')
            return key;
    }
}

/* ---- showing ---- */

/* One paragraph in lines of `width` columns, broken at spaces. */
static void paragraph(session *s, const char *text, size_t n, int width)
{
    while (n > 0) {
        size_t take = 0, space = 0;
        int columns = 0;
        while (take < n && columns < width) {
            space = text[take] == ' ' ? take : space;
            do
                take++;
            while (take < n && ((unsigned char)text[take] & 0xc0) == 0x80);
            columns++;
        }
        if (take < n && space > 0 && text[take] != ' ')
            take = space;
        sail__cli_line(s->c, "%.*s", (int)take, text);
        while (take < n && text[take] == ' ')
            take++;
        text += take;
        n -= take;
    }
}

static void show_text(session *s, const char *title, sail__tone tone, const char *text)
{
    int width = s->raw && s->c->width > 20 ? s->c->width - 1 : 1 << 20;
    sail__cli_line(s->c, "%s── %s ──%s", sail__tone_code(s->c, tone), title, sail__tone_code(s->c, SAIL__PLAIN));
    sail_buf clean = {0}; /* what a model wrote does not steer the terminal */
    for (const char *c = text; *c; c++)
        sail__buf_printf(&clean, (unsigned char)*c < ' ' && *c != '\n' ? " " : "%c", *c);
    for (const char *c = clean.data ? clean.data : ""; *c;) {
        size_t n = strcspn(c, "\n");
        if (n == 0)
            sail__cli_line(s->c, "%s", "");
        paragraph(s, c, n, width);
        c += n + (c[n] == '\n');
    }
    if (!*text)
        sail__cli_line(s->c, "(empty)");
    sail__buf_free(&clean);
}

static size_t open_questions(const session *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->q[i].answer == SAIL__QUESTION_OPEN;
    return n;
}

static void show(session *s, size_t i)
{
    const sail__question *q = &s->q[i];
    sail__cli_line(s->c, "\n%spair %zu of %zu, %zu open%s", sail__tone_code(s->c, SAIL__BOLD), i + 1, s->n, open_questions(s),
                   sail__tone_code(s->c, SAIL__PLAIN));
    show_text(s, "conversation", SAIL__DIM, q->conversation);
    show_text(s, "first", SAIL__CYAN, q->responses[q->first]);
    show_text(s, "second", SAIL__YELLOW, q->responses[1 - q->first]);
}

static const char *said(const sail__question *q)
{
    return q->answer == SAIL_ABSTAIN ? "skipped" : q->answer == SAIL_TIE ? "a tie" : q->answer == q->first ? "the first" : "the second";
}

/* ---- asking ---- */

static sail_code undo(session *s, size_t *at, sail_err *err)
{
    if (s->n_done == 0) {
        sail__cli_line(s->c, "nothing to undo");
        return SAIL_OK;
    }
    *at = s->done[--s->n_done];
    SAIL_TRY(sail__store_answer(s->store, &s->q[*at], SAIL__QUESTION_OPEN, 0, err));
    s->q[*at].answer = SAIL__QUESTION_OPEN;
    sail__cli_line(s->c, "taken back");
    return SAIL_OK;
}

static sail_code ask_one(session *s, size_t *at, sail_err *err)
{
    sail__question *q = &s->q[*at];
    double start = sail__now();
    show(s, *at);
    for (;;) {
        sail__cli_line(s->c, "better: 1 first, 2 second, t tie, s skip, u undo, q leave");
        fflush(stdout);
        int key = next_key(s);
        int32_t answer = key == '1' ? q->first : key == '2' ? 1 - q->first : key == 't' ? SAIL_TIE : key == 's' ? SAIL_ABSTAIN : SAIL__QUESTION_OPEN;
        if (key == 0 || key == 'q') {
            s->left = true;
            return SAIL_OK;
        }
        if (key == 'u') {
            size_t before = *at;
            SAIL_TRY(undo(s, at, err));
            if (*at == before)
                continue;
            return SAIL_OK;
        }
        if (answer == SAIL__QUESTION_OPEN) {
            sail__cli_line(s->c, "'%c' is none of the keys", key < 127 ? key : '?');
            continue;
        }
        SAIL_TRY(sail__store_answer(s->store, q, answer, sail__now() - start, err));
        q->answer = answer;
        s->done[s->n_done++] = *at;
        sail__cli_line(s->c, "%s", said(q));
        ++*at;
        return SAIL_OK;
    }
}

static sail_code ask_all(session *s, sail_err *err)
{
    sail_code code = SAIL_OK;
    set_keys(s);
    for (size_t at = 0; code == SAIL_OK && at < s->n && !s->left;) {
        if (s->q[at].answer != SAIL__QUESTION_OPEN)
            at++;
        else
            code = ask_one(s, &at, err);
        for (size_t i = 0; at == s->n && i < s->n; i++) /* an undo may have gone back */
            if (s->q[i].answer == SAIL__QUESTION_OPEN)
                at = i;
    }
    reset_keys(s);
    return code;
}

/* ---- samples ---- */

static bool comparable(const sail__sample *x)
{
    return x->k == 2 && x->responses[0].text && x->responses[1].text && strcmp(x->responses[0].text, x->responses[1].text) != 0;
}

static void sample_key(const session *s, const sail__sample *x, char key[33])
{
    const char *texts[2] = {x->responses[0].text, x->responses[1].text};
    sail__verdict_key(s->o->name, "samples", x->prompt ? x->prompt : "", texts, 2, key);
}

/* The newest pairs of every stage become questions. */
static sail_code from_samples(session *s, sail__sample **out, size_t *n, sail_err *err)
{
    size_t all, kept = 0;
    sail__sample *x;
    SAIL_TRY(sail__store_samples(s->store, s->arena, NULL, "eval", INT64_MIN, INT64_MAX, 0, &x, &all, err));
    for (size_t i = 0; i < all; i++) {
        bool newest = true;
        for (size_t k = i + 1; k < all && newest && !strcmp(x[k].stage, x[i].stage); k++)
            newest = x[k].step == x[i].step;
        if (newest && comparable(&x[i]))
            x[kept++] = x[i];
    }
    for (size_t i = 0; i < kept; i++) {
        const char *texts[2] = {x[i].responses[0].text, x[i].responses[1].text};
        sail__question q = {.judge = s->o->name, .conversation = x[i].prompt ? x[i].prompt : "", .responses = texts};
        sample_key(s, &x[i], q.key);
        q.first = sail_rng_uniform((uint64_t)s->o->seed, SAIL_RNG_USER, sail__hash64(q.key, 32, 0), 0, 0) < 0.5;
        SAIL_TRY(sail__store_add_question(s->store, &q, err));
    }
    *out = x;
    *n = kept;
    return kept ? SAIL_OK : sail_fail(err, SAIL_E_NOTFOUND, "%s kept no pairs of different responses: an evaluation with eval.generate above 0 and a reference does",
                                      s->c->args[0]);
}

static sail_code win_rate(session *s, const sail__sample *x, size_t n, sail_err *err)
{
    double *score = sail__arena_array(s->arena, n + 1, sizeof *score), low, high, sum = 0;
    int64_t judged = 0, ties = 0;
    if (!score)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char key[33];
        sample_key(s, &x[i], key);
        for (size_t k = 0; k < s->n; k++)
            if (!strcmp(s->q[k].key, key) && s->q[k].answer >= 0) {
                ties += s->q[k].answer == SAIL_TIE;
                score[judged] = s->q[k].answer == SAIL_TIE ? 0.5 : s->q[k].answer == 0;
                sum += score[judged++];
            }
    }
    if (judged == 0)
        return SAIL_OK;
    SAIL_TRY(sail__bootstrap(score, judged, NULL, 1000, (uint64_t)s->o->seed, NULL, &low, &high, err));
    sail__cli_line(s->c, "win rate of %s over %s: %.3f  [%.3f, %.3f]  (%lld pairs, %lld ties)", x[0].responses[0].writer, x[0].responses[1].writer,
                   sum / (double)judged, low, high, (long long)judged, (long long)ties);
    return SAIL_OK;
}

/* ---- the whole ---- */

static sail_code export(session *s, sail_err *err)
{
    sail_buf b = {0};
    for (size_t i = 0; i < s->n; i++) {
        const sail__question *q = &s->q[i];
        if (q->answer == SAIL__QUESTION_OPEN)
            continue;
        sail__buf_str(&b, "{\"conversation\": ");
        sail__json_quote(&b, q->conversation, strlen(q->conversation));
        for (int k = 0; k < 2; k++) {
            sail__buf_printf(&b, ", \"response_%d\": ", k + 1);
            sail__json_quote(&b, q->responses[k], strlen(q->responses[k]));
        }
        sail__buf_printf(&b, ", \"winner\": %s, \"shown_first\": %d, \"seconds\": %.3f, \"judge\": ", q->answer == SAIL_ABSTAIN ? "null" : q->answer == SAIL_TIE ? "\"tie\"" : q->answer == 0 ? "1" : "2",
                         q->first + 1, q->seconds);
        sail__json_quote(&b, q->judge, strlen(q->judge));
        sail__buf_str(&b, "}\n");
    }
    sail_code code = b.oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : sail__cli_output(s->c, s->o->output, b.data ? b.data : "", b.len, err);
    sail__buf_free(&b);
    return code;
}

static sail_code judge(session *s, size_t *open, sail_err *err)
{
    sail__sample *samples = NULL;
    size_t n_samples = 0, answered = 0;
    if (s->o->samples)
        SAIL_TRY(from_samples(s, &samples, &n_samples, err));
    SAIL_TRY(sail__store_questions(s->store, s->arena, NULL, &s->q, &s->n, err));
    if (s->n == 0)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s has no questions: a run with `judge: person` leaves them, and --samples compares what its evaluations kept",
                         s->c->args[0]);
    if (!(s->done = sail__arena_array(s->arena, s->n + 1, sizeof *s->done)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(ask_all(s, err));
    *open = open_questions(s);
    for (size_t i = 0; i < s->n; i++)
        answered += s->q[i].answer >= 0;
    sail__cli_line(s->c, "%zu answered, %zu skipped, %zu open", answered, s->n - answered - *open, *open);
    if (s->o->samples)
        SAIL_TRY(win_rate(s, samples, n_samples, err));
    return s->o->output ? export(s, err) : SAIL_OK;
}

static sail_code one_sitting(sail__cli *c, size_t *open, bool *left, sail_err *err)
{
    session s = {.c = c, .o = c->options, .arena = sail__arena_new()};
    char *db = s.arena ? sail__path_join(s.arena, c->args[0], "run.db") : NULL;
    if (!db)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    sail_code code = sail__file_exists(db) ? sail__store_open(db, SAIL__STORE_WRITE, &s.store, err)
                                           : sail_fail(err, SAIL_E_NOTFOUND, "%s is no run: it has no run.db", c->args[0]);
    if (code == SAIL_OK)
        code = judge(&s, open, err);
    sail__store_close(s.store);
    sail__arena_free(s.arena);
    *left = s.left;
    return code;
}

static sail_code run(sail__cli *c, sail_err *err)
{
    const struct judge_options *o = c->options;
    size_t open = 0;
    bool left = false;
    for (;;) {
        SAIL_TRY(one_sitting(c, &open, &left, err));
        if (sail_cancelled(c->ctx))
            return sail_fail(err, SAIL_E_CANCEL, "stopped; all answers are kept");
        if (!o->go_on || left || open > 0)
            break;
        sail_code code = sail__command_find("resume")->run(c, err);
        if (code != SAIL_E_WAIT)
            return code;
    }
    if (!o->samples && open == 0)
        sail__cli_line(c, "go on with: sail resume %s", c->args[0]);
    return SAIL_OK;
}

static const sail__example examples[] = {
    {"sail judge runs/mine", "answer what the run waits for, then sail resume runs/mine"},
    {"sail judge runs/mine --go-on", "one after the other until it is done"},
    {"sail judge runs/mine --samples", "which model writes better? a blind comparison"},
    {"printf 12ts | sail judge runs/mine --output answers.jsonl", "keys from a pipe; the answers for the judge replay"},
    {0},
};
const sail__command sail__cmd_judge = {
    .name = "judge", .args = "RUN", .summary = "say yourself which response is better", .min_args = 1, .max_args = 1,
    .doc = "Both responses to a prompt are shown, in an order that is drawn and kept. 1: the first is better, 2: the second, t: a tie, s: skip (no "
           "verdict), u: undo, q: leave. Each answer is kept at once; come back at any time. The run must not be running meanwhile.",
    .flags = SAIL__CLI_SIGNALS, .options = options, .options_size = sizeof(struct judge_options), .examples = examples, .run = run,
};
