/* world.c - the small world: its words, its grammar, its truth. */
#include "world.h"

#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/node.h"
#include "io/tokenizer.h"
#include "sail/rng.h"

/* ---- words ---- */

static const char *const asks[] = {"Tell about", "Describe"};
static const char *const animals[] = {"cat", "dog", "fox", "owl", "hare", "bear", "mouse", "horse", "goat", "duck", "frog", "wolf"};
static const char *const places[] = {"river", "hill", "barn", "forest", "lake", "village", "bridge", "garden"};
static const char *const colours[] = {"red", "white", "black", "brown", "grey", "small", "old"};
enum { ASKS = 2, ANIMALS = 12, PLACES = 8, COLOURS = 7 };

/* A word or phrase of a slot. Half of the good and half of the bad ones are unknown to the habit. */
typedef struct choice {
    const char *text;
    double weight;
    bool habit;
} choice;

static const choice verbs[] = {
    {"walks", 0, true},      {"waits", -0.2, true},   {"sleeps", -0.4, true},  {"plays", 0.6, true},    {"sings", 0.8, true},
    {"hides", -0.6, true},   {"shouts", -0.9, true},  {"bites", -1.2, true},   {"helps", 1.4, false},   {"dances", 1.0, false},
    {"shares", 1.2, false},  {"steals", -1.2, false}, {"breaks", -0.9, false}, {"stumbles", -0.3, false},
};
static const choice adverbs[] = {
    {"slowly", 0, true},   {"quickly", 0.1, true}, {"gently", 0.7, true},  {"loudly", -0.5, true},
    {"kindly", 0.9, false}, {"badly", -0.8, false}, {"calmly", 0.3, false},
};
static const choice ends[] = {
    {"in the rain", -0.3, true},  {"for a coin", -0.6, true},      {"at night", 0, true},          {"with a song", 0.5, true},
    {"with a friend", 1.1, false}, {"under the stars", 0.8, false}, {"with a stick", -0.8, false}, {"in the mud", -0.4, false},
};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

/* What is not about single words. The last three keep the truth from being served by piling up words. */
static const struct {
    const char *pattern;
    double weight;
} rules[] = {
    {"sings loudly", -0.9},         /* the sum of its words would be +0.3 */
    {"waits calmly", 0.8},          /* … +0.1 */
    {"\\.$", 0.5},                  /* the sentence is finished */
    {"^( [^ ]+){16}", -1.5},        /* it is long */
    {"and .* and", -1.0},           /* it goes on and on */
};

/* ---- prompts ---- */

/* A combination of animal and place belongs to evaluation or to training, whatever the ask. */
static bool is_eval(int animal, int place) { return (animal * 3 + place * 5) % 4 == 0; }

int64_t sail__world_prompts(bool eval)
{
    int64_t n = 0;
    for (int a = 0; a < ANIMALS; a++)
        for (int p = 0; p < PLACES; p++)
            n += is_eval(a, p) == eval;
    return n * ASKS;
}

static void combination(int64_t index, bool eval, int *animal, int *place)
{
    int64_t k = index / ASKS;
    for (*animal = 0; *animal < ANIMALS; ++*animal)
        for (*place = 0; *place < PLACES; ++*place)
            if (is_eval(*animal, *place) == eval && k-- == 0)
                return;
}

void sail__world_prompt(int64_t index, bool eval, sail_buf *out)
{
    int a, p;
    combination(index, eval, &a, &p);
    sail__buf_printf(out, "%s the %s at the %s:", asks[index % ASKS], animals[a], places[p]);
}

/* ---- responses ---- */

typedef struct dice {
    uint64_t seed, id, n;
} dice;

static double uniform(dice *d) { return sail_rng_uniform(d->seed, SAIL_RNG_WORLD, d->id, d->n++, 1); }

/* The whole grammar likes what the habit knows three times as much: new words are there, but rare. */
static const char *choose(dice *d, const choice *c, int n, bool habit)
{
    double total = 0;
    for (int i = 0; i < n; i++)
        total += c[i].habit ? 3 : !habit;
    double u = uniform(d) * total;
    int last = 0;
    for (int i = 0; i < n; i++) {
        double w = c[i].habit ? 3 : !habit;
        if (w == 0)
            continue;
        last = i;
        if ((u -= w) < 0)
            break;
    }
    return c[last].text;
}

static const char *pick(dice *d, const char *const *words, int n)
{
    int i = (int)(uniform(d) * n);
    return words[i < n ? i : n - 1];
}

void sail__world_response(uint64_t seed, uint64_t id, int64_t prompt, bool eval, bool habit, sail_buf *out)
{
    dice d = {seed, id, 0};
    int animal, place;
    combination(prompt, eval, &animal, &place);
    sail__buf_str(out, " the ");
    if (uniform(&d) < 0.5)
        sail__buf_printf(out, "%s ", pick(&d, colours, COLOURS));
    sail__buf_printf(out, "%s %s", animals[animal], choose(&d, verbs, COUNT(verbs), habit));
    if (uniform(&d) < 0.5)
        sail__buf_printf(out, " %s", choose(&d, adverbs, COUNT(adverbs), habit));
    if (uniform(&d) < 0.6)
        sail__buf_printf(out, " %s the %s", uniform(&d) < 0.5 ? "near" : "by", places[place]);
    if (uniform(&d) < 0.4) {
        sail__buf_printf(out, " and %s", choose(&d, verbs, COUNT(verbs), habit));
        if (uniform(&d) < 0.3)
            sail__buf_printf(out, " %s", choose(&d, adverbs, COUNT(adverbs), habit));
    }
    if (uniform(&d) < 0.5)
        sail__buf_printf(out, " %s", choose(&d, ends, COUNT(ends), habit));
    sail__buf_str(out, " .");
}

static const struct {
    const choice *items;
    int n;
} slots[] = {{verbs, COUNT(verbs)}, {adverbs, COUNT(adverbs)}, {ends, COUNT(ends)}};

/* ---- truth ---- */

void sail__world_truth(sail_buf *out)
{
    sail__buf_str(out, "# weight and extended regular expression; the truth is the sum of the weights of those that occur\n");
    for (int s = 0; s < COUNT(slots); s++)
        for (int i = 0; i < slots[s].n; i++)
            if (slots[s].items[i].weight != 0)
                sail__buf_printf(out, "%+g  %s\n", slots[s].items[i].weight, slots[s].items[i].text);
    for (int i = 0; i < COUNT(rules); i++)
        sail__buf_printf(out, "%+g  %s\n", rules[i].weight, rules[i].pattern);
}

sail_code sail__world_score(const char *response, double *score, sail_err *err)
{
    *score = 0;
    for (int s = 0; s < COUNT(slots); s++)
        for (int i = 0; i < slots[s].n; i++) {
            const char *at = strstr(response, slots[s].items[i].text);
            *score += at ? slots[s].items[i].weight : 0;
        }
    for (int i = 0; i < COUNT(rules); i++) {
        regex_t re;
        if (regcomp(&re, rules[i].pattern, REG_EXTENDED | REG_NOSUB) != 0)
            return sail_fail(err, SAIL_E_BUG, "the world's pattern '%s' is no regular expression", rules[i].pattern);
        *score += regexec(&re, response, 0, NULL, 0) == 0 ? rules[i].weight : 0;
        regfree(&re);
    }
    return SAIL_OK;
}

/* ---- tokenizer: byte-level BPE in which every word of the world is one token ---- */

typedef struct vocabulary {
    sail_arena *arena;
    const char **tokens, **merges;
    size_t n, n_merges, cap, cap_merges;
} vocabulary;

static sail_code token(vocabulary *v, const char *s, sail_err *err)
{
    for (size_t i = 0; i < v->n; i++)
        if (!strcmp(v->tokens[i], s))
            return SAIL_OK;
    SAIL_TRY(sail__grow(&v->tokens, &v->cap, v->n + 1, sizeof *v->tokens, err));
    v->tokens[v->n] = sail__arena_strdup(v->arena, s);
    return v->tokens[v->n++] ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

/* The 256 bytes as the byte-level alphabet writes them: printable ones as they are, the others from U+0100 on. */
static sail_code bytes(vocabulary *v, sail_err *err)
{
    int other = 0;
    for (int b = 0; b < 256; b++) {
        bool plain = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        unsigned c = plain ? (unsigned)b : 0x100u + (unsigned)other++;
        char s[3] = {(char)c, 0, 0};
        if (c >= 0x80) {
            s[0] = (char)(0xC0 | c >> 6);
            s[1] = (char)(0x80 | (c & 0x3F));
        }
        SAIL_TRY(token(v, s, err));
    }
    return SAIL_OK;
}

/* One letter after another: every merge begins with a word's beginning, so no merge gets in another word's way. */
static sail_code word(vocabulary *v, const char *w, size_t len, bool spaced, sail_err *err)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s%.*s", spaced ? "\xC4\xA0" : "", (int)len, w);
    size_t n = strlen(whole);
    for (size_t at = spaced ? 2 : 1; at < n; at++) {
        char left[64], both[64], merge[80];
        snprintf(left, sizeof left, "%.*s", (int)at, whole);
        snprintf(both, sizeof both, "%.*s", (int)at + 1, whole);
        snprintf(merge, sizeof merge, "%s %c", left, whole[at]);
        size_t had = v->n;
        SAIL_TRY(token(v, both, err));
        if (v->n == had)
            continue; /* another word begins so */
        SAIL_TRY(sail__grow(&v->merges, &v->cap_merges, v->n_merges + 1, sizeof *v->merges, err));
        v->merges[v->n_merges] = sail__arena_strdup(v->arena, merge);
        if (!v->merges[v->n_merges++])
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    return SAIL_OK;
}

static sail_code words(vocabulary *v, const char *text, bool first, sail_err *err)
{
    while (*text) {
        size_t n = strcspn(text, " ");
        SAIL_TRY(word(v, text, n, !first, err));
        first = false;
        text += n + (text[n] == ' ');
    }
    return SAIL_OK;
}

static sail_code all_words(vocabulary *v, sail_err *err)
{
    static const char *const others[] = {"the at near by and .", "about"};
    for (int i = 0; i < ASKS; i++)
        SAIL_TRY(words(v, asks[i], true, err));
    for (int i = 0; i < COUNT(others); i++)
        SAIL_TRY(words(v, others[i], false, err));
    for (int i = 0; i < ANIMALS; i++)
        SAIL_TRY(words(v, animals[i], false, err));
    for (int i = 0; i < PLACES; i++)
        SAIL_TRY(words(v, places[i], false, err));
    for (int i = 0; i < COLOURS; i++)
        SAIL_TRY(words(v, colours[i], false, err));
    for (int s = 0; s < COUNT(slots); s++)
        for (int i = 0; i < slots[s].n; i++)
            SAIL_TRY(words(v, slots[s].items[i].text, false, err));
    return SAIL_OK;
}

static sail_code tokenizer_files(sail_buf *json, sail_buf *config, sail_err *err)
{
    vocabulary v = {.arena = sail__arena_new()};
    sail_code code = v.arena ? bytes(&v, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code == SAIL_OK)
        code = all_words(&v, err);
    size_t plain = v.n;
    if (code == SAIL_OK)
        code = token(&v, "<|end|>", err);
    if (code == SAIL_OK)
        code = token(&v, "<|pad|>", err);
    int32_t *types = code == SAIL_OK ? sail__arena_array(v.arena, v.n, sizeof *types) : NULL;
    if (code == SAIL_OK && !types)
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (size_t i = 0; code == SAIL_OK && i < v.n; i++)
        types[i] = i < plain ? 1 : 3;
    sail__vocabulary out = {.origin = "world", .model = "gpt2", .tokens = v.tokens, .n = v.n, .types = types, .merges = v.merges,
                            .n_merges = v.n_merges, .bos = -1, .eos = (int64_t)plain, .eot = -1, .eom = -1, .unk = -1,
                            .pad = (int64_t)plain + 1, .add_bos = 0, .add_eos = 0, .add_space_prefix = 0};
    if (code == SAIL_OK)
        code = sail__vocabulary_write(&out, json, config, err);
    sail__free(v.tokens);
    sail__free(v.merges);
    if (v.arena)
        sail__arena_free(v.arena);
    return code;
}

/* ---- files ---- */

static void member(sail_buf *out, const char *key, const sail_buf *text)
{
    sail__buf_printf(out, "%s\"%s\": ", out->len && out->data[out->len - 1] != '\n' ? ", " : "{", key);
    sail__json_quote(out, text->data ? text->data : "", text->len);
}

static void demonstration(const sail__world_options *o, int64_t i, sail_buf *out)
{
    sail_buf prompt = {0}, response = {0};
    uint64_t seed = (uint64_t)o->seed;
    int64_t p = (int64_t)sail_rng_below(seed, SAIL_RNG_WORLD, (uint64_t)i, 0, 2, (uint64_t)sail__world_prompts(false));
    sail__world_prompt(p, false, &prompt);
    sail__world_response(seed, (uint64_t)i, p, false, false, &response);
    member(out, "prompt", &prompt);
    member(out, "completion", &response);
    sail__buf_str(out, "}\n");
    out->oom = out->oom || prompt.oom || response.oom;
    sail__buf_free(&prompt);
    sail__buf_free(&response);
}

/* Two different responses of the habit; which is chosen is drawn by Bradley-Terry on the truth. */
static sail_code pair(const sail__world_options *o, int64_t i, bool eval, sail_buf *out, sail_err *err)
{
    sail_buf prompt = {0}, r[2] = {{0}, {0}};
    uint64_t seed = (uint64_t)o->seed, id = (uint64_t)(eval ? 2000000 : 1000000) + (uint64_t)i;
    uint64_t n = (uint64_t)sail__world_prompts(eval);
    int64_t p = eval ? i % (int64_t)n : (int64_t)sail_rng_below(seed, SAIL_RNG_WORLD, id, 0, 2, n);
    sail__world_prompt(p, eval, &prompt);
    sail__world_response(seed, id << 8, p, eval, true, &r[0]);
    for (uint64_t again = 1; again < 256; again++) {
        r[1].len = 0;
        sail__world_response(seed, id << 8 | again, p, eval, true, &r[1]);
        if (r[0].data && r[1].data && strcmp(r[0].data, r[1].data) != 0)
            break;
    }
    double s[2] = {0, 0};
    sail_code code = r[0].data && r[1].data && !r[0].oom && !r[1].oom && !prompt.oom ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int k = 0; k < 2 && code == SAIL_OK; k++)
        code = sail__world_score(r[k].data, &s[k], err);
    if (code == SAIL_OK) {
        double win = 1 / (1 + exp(-(s[0] - s[1]) / o->temperature));
        int chosen = sail_rng_uniform(seed, SAIL_RNG_WORLD, id, 0, 3) < win ? 0 : 1;
        member(out, "prompt", &prompt);
        member(out, "chosen", &r[chosen]);
        member(out, "rejected", &r[1 - chosen]);
        sail__buf_str(out, "}\n");
    }
    sail__buf_free(&prompt);
    sail__buf_free(&r[0]);
    sail__buf_free(&r[1]);
    return code;
}

static void describe(const sail__world_options *o, sail_buf *out)
{
    sail__buf_printf(out, "{\"seed\": %lld, \"temperature\": %.17g, \"labels\": \"bradley_terry\",\n \"weights\": {", (long long)o->seed,
                     o->temperature);
    const char *comma = "";
    for (int s = 0; s < COUNT(slots); s++)
        for (int i = 0; i < slots[s].n; i++, comma = ", ")
            sail__buf_printf(out, "%s\"%s\": %g", comma, slots[s].items[i].text, slots[s].items[i].weight);
    for (int i = 0; i < COUNT(rules); i++) {
        sail__buf_str(out, ", ");
        sail__json_quote(out, rules[i].pattern, strlen(rules[i].pattern));
        sail__buf_printf(out, ": %g", rules[i].weight);
    }
    sail__buf_str(out, "},\n \"not_in_pairs\": [");
    comma = "";
    for (int s = 0; s < COUNT(slots); s++)
        for (int i = 0; i < slots[s].n; i++)
            if (!slots[s].items[i].habit) {
                sail__buf_printf(out, "%s\"%s\"", comma, slots[s].items[i].text);
                comma = ", ";
            }
    sail__buf_str(out, "]}\n");
}

static sail_code put(const char *dir, const char *name, sail_buf *b, sail_err *err)
{
    sail_arena *a = sail__arena_new();
    char *path = a && !b->oom ? sail__path_join(a, dir, name) : NULL;
    sail_code code = path ? sail__file_write(path, b->data ? b->data : "", b->len, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (a)
        sail__arena_free(a);
    sail__buf_free(b);
    return code;
}

sail_code sail__world_write(const sail__world_options *o, const char *dir, sail_err *err)
{
    sail_buf b = {0}, config = {0};
    sail_code code = sail__make_dirs(dir, err);
    for (int64_t i = 0; code == SAIL_OK && i < o->demonstrations; i++)
        demonstration(o, i, &b);
    if (code == SAIL_OK)
        code = put(dir, "sft.jsonl", &b, err);
    for (int eval = 0; eval < 2; eval++) {
        for (int64_t i = 0; code == SAIL_OK && i < (eval ? o->eval : o->pairs); i++)
            code = pair(o, i, eval, &b, err);
        if (code == SAIL_OK)
            code = put(dir, eval ? "eval.jsonl" : "pairs.jsonl", &b, err);
    }
    if (code == SAIL_OK) {
        sail__world_truth(&b);
        code = put(dir, "truth.txt", &b, err);
    }
    if (code == SAIL_OK) {
        describe(o, &b);
        code = put(dir, "world.json", &b, err);
    }
    if (code == SAIL_OK)
        code = tokenizer_files(&b, &config, err);
    if (code == SAIL_OK)
        code = put(dir, "tokenizer_config.json", &config, err);
    if (code == SAIL_OK)
        code = put(dir, "tokenizer.json", &b, err);
    sail__buf_free(&b);
    sail__buf_free(&config);
    return code;
}
