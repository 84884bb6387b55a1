/* tokenizer_vocab.c - a vocabulary in memory (a GGUF's) as the tokenizer.json it stands for.
 *
 * A GGUF names its pre-tokenizer instead of writing the pattern: the table below says what each name means. The pieces
 * of a SentencePiece vocabulary have scores; the merges are every way to put a piece together from two others, best
 * score first. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tokenizer_impl.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LOWER_WORD "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define UPPER_WORD "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
#define SPACES "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char gpt2[] = SAIL__GPT2_PATTERN; /* the ByteLevel step's own */
static const char qwen2[] = CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES;
static const char llama3[] =
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACES;
static const char tekken[] = LOWER_WORD "|" UPPER_WORD "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES;
static const char o200k[] =
    LOWER_WORD CONTRACTIONS "?|" UPPER_WORD CONTRACTIONS "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACES;

/* Of those that do the same the one that is written comes first. */
static const sail__pre pres[] = {
    {"default", gpt2},
    {"gpt-2", gpt2},
    {"gpt2", gpt2},
    {"phi-2", gpt2},
    {"mpt", gpt2},
    {"olmo", gpt2, .nfc = true},
    {"jais", gpt2},
    {"smollm", gpt2, .digits = true},
    {"starcoder", gpt2, .digits = true},
    {"refact", gpt2, .digits = true},
    {"codeshell", gpt2, .digits = true},
    {"command-r", gpt2, .digits = true},
    {"qwen2", qwen2, .nfc = true},
    {"stablelm2", qwen2, .nfc = true},
    {"deepseek-r1-qwen", qwen2, .nfc = true},
    {"llama-bpe", llama3, .ignore_merges = true, .add_bos = true},
    {"llama3", llama3, .ignore_merges = true, .add_bos = true},
    {"llama-v3", llama3, .ignore_merges = true, .add_bos = true},
    {"falcon3", llama3, .ignore_merges = true, .add_bos = true},
    {"dbrx", llama3},
    {"smaug-bpe", llama3},
    {"tekken", tekken, .ignore_merges = true, .add_bos = true},
    {"pixtral", tekken, .ignore_merges = true, .add_bos = true},
    {"gpt-4o", o200k},
    {"llama4", o200k},
};

const sail__pre *sail__pre_at(size_t i)
{
    return i < sizeof pres / sizeof *pres ? &pres[i] : NULL;
}

const sail__pre *sail__pre_named(const char *name)
{
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        if (strcmp(pres[i].name, name) == 0)
            return &pres[i];
    return NULL;
}

static sail_code find_pre(const sail__vocabulary *v, const sail__pre **out, sail_err *err)
{
    const char *name = v->pre ? v->pre : "default";
    if ((*out = sail__pre_named(name)))
        return SAIL_OK;
    sail_buf known = {0};
    for (size_t i = 0; sail__pre_at(i); i++)
        sail__buf_printf(&known, "%s%s", i ? ", " : "", pres[i].name);
    sail_code code =
        sail_fail(err, SAIL_E_FORMAT,
                  "%s: pre-tokenizer '%s' is not known (known: %s); give the model's tokenizer.json instead "
                  "(model.tokenizer)",
                  v->origin, name, known.data ? known.data : "");
    sail__buf_free(&known);
    return code;
}

static sail__string token(const sail__vocabulary *v, size_t i)
{
    return (sail__string){v->tokens[i], (uint32_t)(v->token_sizes ? v->token_sizes[i] : strlen(v->tokens[i]))};
}

static int type_of(const sail__vocabulary *v, size_t i)
{
    return v->types ? v->types[i] : SAIL__TYPE_NORMAL;
}

/* json_object_set with a key of a given length; false: out of memory. */
static bool set_new(json_t *o, sail__string key, json_t *value)
{
    char small[256], *k = key.len < sizeof small ? small : sail__malloc((size_t)key.len + 1);
    if (!k) {
        json_decref(value);
        return false;
    }
    memcpy(k, key.data, key.len);
    k[key.len] = '\0';
    bool ok = json_object_set_new_nocheck(o, k, value) == 0;
    if (k != small)
        sail__free(k);
    return ok;
}

static sail_code build_vocab(const sail__vocabulary *v, json_t *vocab, json_t *added, sail_err *err)
{
    if (v->n == 0 || v->n > SAIL__MAX_TOKEN_ID)
        return sail_fail(err, SAIL_E_FORMAT, "%s: a vocabulary of %zu tokens", v->origin, v->n);
    for (size_t i = 0; i < v->n; i++) {
        sail__string s = token(v, i);
        int type = type_of(v, i);
        if (s.len == 0)
            continue; /* a hole: decodes to nothing */
        if (!sail__utf8_valid(s.data, s.len) || memchr(s.data, '\0', s.len))
            return sail_fail(err, SAIL_E_FORMAT, "%s: token %zu is not valid UTF-8", v->origin, i);
        size_t had = json_object_size(vocab);
        if (!set_new(vocab, s, json_integer((json_int_t)i)))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (json_object_size(vocab) == had)
            return sail_fail(err, SAIL_E_FORMAT, "%s: token %zu ('%.*s') is in the vocabulary twice", v->origin, i,
                             (int)(s.len > 100 ? 100 : s.len), s.data);
        bool special = type == SAIL__TYPE_CONTROL || (type == SAIL__TYPE_UNKNOWN && strcmp(v->model, "llama") == 0);
        if (!special && type != SAIL__TYPE_USER)
            continue;
        json_t *a =
            json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i, "content", s.data, (size_t)s.len,
                      "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", special);
        if (!a || json_array_append_new(added, a))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    return SAIL_OK;
}

static sail_code given_merges(const sail__vocabulary *v, json_t *merges, sail_err *err)
{
    for (size_t i = 0; i < v->n_merges; i++) {
        size_t n = v->merge_sizes ? v->merge_sizes[i] : strlen(v->merges[i]);
        json_t *s = json_stringn(v->merges[i], n);
        if (!s)
            return sail_fail(err, SAIL_E_FORMAT, "%s: merge %zu is not valid UTF-8", v->origin, i);
        if (json_array_append_new(merges, s))
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    return SAIL_OK;
}

/* ---- merges of scored pieces ---- */

typedef struct scored {
    float score;
    int32_t whole, left, right;
    uint32_t left_chars, right_chars;
} scored;

/* Best score first; of equals the longer left, then the longer right part, as the usual conversion has it. */
static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars)
        return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars)
        return x->right_chars > y->right_chars ? -1 : 1;
    return x->whole != y->whole ? (x->whole < y->whole ? -1 : 1) : x->left < y->left ? -1 : x->left > y->left;
}

static int64_t id_of(const json_t *vocab, const char *s, size_t n)
{
    char small[256];
    if (n >= sizeof small)
        return -1;
    memcpy(small, s, n);
    small[n] = '\0';
    const json_t *id = json_object_get(vocab, small);
    return id ? json_integer_value(id) : -1;
}

static sail_code scored_merges(const sail__vocabulary *v, const json_t *vocab, json_t *merges, sail_err *err)
{
    scored *all = NULL;
    size_t n = 0, cap = 0;
    sail_code code = SAIL_OK;
    if (!v->scores)
        return sail_fail(err, SAIL_E_FORMAT, "%s: a vocabulary of model 'llama' without scores", v->origin);
    for (size_t i = 0; i < v->n && !code; i++) {
        sail__string s = token(v, i);
        int type = type_of(v, i);
        if ((type != SAIL__TYPE_NORMAL && type != SAIL__TYPE_USER) || s.len >= 256)
            continue;
        if (!isfinite(v->scores[i])) {
            code = sail_fail(err, SAIL_E_FORMAT, "%s: the score of token %zu is not a number", v->origin, i);
            break;
        }
        uint32_t chars = 0, c;
        for (size_t k = 0; k < s.len; k += (size_t)sail__utf8_next(s.data + k, s.len - k, &c))
            chars++;
        uint32_t before = 0;
        for (size_t k = 0; k < s.len && !code; before++) {
            if (k) {
                int64_t left = id_of(vocab, s.data, k), right = left < 0 ? -1 : id_of(vocab, s.data + k, s.len - k);
                if (left >= 0 && right >= 0) {
                    code = sail__grow(&all, &cap, n + 1, sizeof *all, err);
                    if (!code)
                        all[n++] =
                            (scored){v->scores[i], (int32_t)i, (int32_t)left, (int32_t)right, before, chars - before};
                }
            }
            k += (size_t)sail__utf8_next(s.data + k, s.len - k, &c);
        }
    }
    if (n)
        qsort(all, n, sizeof *all, by_score);
    for (size_t i = 0; i < n && !code; i++) {
        sail__string l = token(v, (size_t)all[i].left), r = token(v, (size_t)all[i].right);
        json_t *pair = json_pack("[s%, s%]", l.data, (size_t)l.len, r.data, (size_t)r.len);
        if (!pair || json_array_append_new(merges, pair))
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    sail__free(all);
    return code;
}

/* ---- the rest of the file ---- */

static json_t *special_name(const sail__vocabulary *v, int64_t id)
{
    if (id < 0 || (uint64_t)id >= v->n)
        return json_null();
    sail__string s = token(v, (size_t)id);
    return json_stringn(s.data, s.len);
}

static json_t *post_processor(const sail__vocabulary *v, bool bos, bool eos)
{
    if (!bos && !eos)
        return json_null();
    json_t *single = json_array(), *specials = json_object();
    for (int i = 0; i < 3; i++) {
        int64_t id = i == 0 ? v->bos : v->eos;
        if (i == 1) {
            json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
            continue;
        }
        if (!(i == 0 ? bos : eos))
            continue;
        json_t *name = special_name(v, id);
        json_array_append_new(single, json_pack("{s:{s:O, s:i}}", "SpecialToken", "id", name, "type_id", 0));
        set_new(specials, token(v, (size_t)id),
                json_pack("{s:O, s:[I], s:[O]}", "id", name, "ids", (json_int_t)id, "tokens", name));
        json_decref(name);
    }
    return json_pack("{s:s, s:o, s:[], s:o}", "type", "TemplateProcessing", "single", single, "pair", "special_tokens",
                     specials);
}

static json_t *byte_level(bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                     use_regex);
}

static json_t *pre_tokenizer(const sail__pre *p)
{
    if (!p->digits && p->pattern == gpt2)
        return byte_level(true);
    json_t *steps = json_array();
    if (p->digits)
        json_array_append_new(steps, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
    if (p->pattern != gpt2)
        json_array_append_new(steps, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                                               p->pattern, "behavior", "Isolated", "invert", 0));
    json_array_append_new(steps, byte_level(p->pattern == gpt2));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", steps);
}

/* prefix: a space goes before the text, and comes off again. */
static void sentencepiece(json_t *root, bool prefix)
{
    json_t *normal = json_array(), *decode = json_array();
    if (prefix)
        json_array_append_new(normal, json_pack("{s:s, s:s}", "type", "Prepend", "prepend", "\xE2\x96\x81"));
    json_array_append_new(normal, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ",
                                            "content", "\xE2\x96\x81"));
    json_array_append_new(decode, json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String",
                                            "\xE2\x96\x81", "content", " "));
    json_array_append_new(decode, json_pack("{s:s}", "type", "ByteFallback"));
    json_array_append_new(decode, json_pack("{s:s}", "type", "Fuse"));
    if (prefix)
        json_array_append_new(
            decode, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    json_object_set_new(root, "normalizer", json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", normal));
    json_object_set_new(root, "pre_tokenizer", json_null());
    json_object_set_new(root, "decoder", json_pack("{s:s, s:o}", "type", "Sequence", "decoders", decode));
}

static sail_code check_special(const sail__vocabulary *v, const char *name, int64_t id, sail_err *err)
{
    if (id >= (int64_t)v->n || (id >= 0 && token(v, (size_t)id).len == 0))
        return sail_fail(err, SAIL_E_FORMAT, "%s: the %s token's id %lld is not in the vocabulary of %zu tokens",
                         v->origin, name, (long long)id, v->n);
    return SAIL_OK;
}

static sail_code build(const sail__vocabulary *v, json_t **out, sail_err *err)
{
    const struct {
        const char *name;
        int64_t id;
    } ids[] = {{"bos", v->bos}, {"eos", v->eos},     {"eot", v->eot},
               {"eom", v->eom}, {"unknown", v->unk}, {"padding", v->pad}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        SAIL_TRY(check_special(v, ids[i].name, ids[i].id, err));
    const sail__pre *p = &pres[0];
    bool spm = v->model && strcmp(v->model, "llama") == 0;
    if (!spm && (!v->model || strcmp(v->model, "gpt2") != 0))
        return sail_fail(err, SAIL_E_FORMAT, "%s: tokenizer model '%s' is not supported; known: gpt2, llama", v->origin,
                         v->model ? v->model : "(none)");
    if (!spm)
        SAIL_TRY(find_pre(v, &p, err));
    bool bos = v->bos >= 0 && (v->add_bos < 0 ? spm || p->add_bos : v->add_bos), eos = v->eos >= 0 && v->add_eos > 0;
    json_t *root = json_object(), *vocab = json_object(), *added = json_array(), *merges = json_array();
    sail_code code = root && vocab && added && merges ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!code)
        code = build_vocab(v, vocab, added, err);
    if (!code)
        code = spm ? scored_merges(v, vocab, merges, err) : given_merges(v, merges, err);
    if (code) {
        json_decref(vocab);
        json_decref(added);
        json_decref(merges);
        json_decref(root);
        return code;
    }
    json_object_set_new(root, "version", json_string("1.0"));
    json_object_set_new(root, "truncation", json_null());
    json_object_set_new(root, "padding", json_null());
    json_object_set_new(root, "added_tokens", added);
    if (spm) {
        sentencepiece(root, v->add_space_prefix != 0);
    } else {
        json_object_set_new(root, "normalizer", p->nfc ? json_pack("{s:s}", "type", "NFC") : json_null());
        json_object_set_new(root, "pre_tokenizer", pre_tokenizer(p));
        json_object_set_new(root, "decoder", byte_level(true));
    }
    json_object_set_new(root, "post_processor", post_processor(v, bos, eos));
    json_t *unk = spm ? special_name(v, v->unk) : json_null();
    json_object_set_new(root, "model",
                        json_pack("{s:s, s:n, s:o, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                                  "unk_token", unk, "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", spm,
                                  "byte_fallback", spm, "ignore_merges", p->ignore_merges, "vocab", vocab, "merges",
                                  merges));
    static const char *const keys[] = {"normalizer", "pre_tokenizer", "decoder", "post_processor", "model"};
    for (int i = 0; i < 5; i++)
        if (!json_object_get(root, keys[i])) {
            json_decref(root);
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        }
    *out = root;
    return SAIL_OK;
}

sail_code sail__tokenizer_from_vocabulary(const sail__vocabulary *v, sail__tokenizer **out, sail_err *err)
{
    *out = NULL;
    json_t *root;
    SAIL_TRY(build(v, &root, err));
    sail__tokenizer *t = NULL;
    sail_code code = sail__tokenizer_parse(root, v->origin, &t, err);
    json_decref(root);
    SAIL_TRY(code);
    t->bos = (int32_t)v->bos;
    t->eos = (int32_t)v->eos;
    t->pad = (int32_t)v->pad;
    t->unk = (int32_t)v->unk;
    const int64_t ends[] = {v->eos, v->eot, v->eom};
    for (int i = 0; i < 3 && !code; i++)
        code = sail__tokenizer_add_end(t, ends[i], err);
    if (!code && v->chat_template && !(t->chat_template = sail__arena_strdup(t->arena, v->chat_template)))
        code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (code)
        sail__tokenizer_free(t);
    else
        *out = t;
    return code;
}

static sail_code dump(const json_t *j, size_t indent, sail_buf *out, sail_err *err)
{
    char *text = json_dumps(j, JSON_INDENT(indent) | JSON_ENCODE_ANY);
    if (text)
        sail__buf_str(out, text);
    free(text); /* jansson's */
    return text && !out->oom ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

sail_code sail__vocabulary_write(const sail__vocabulary *v, sail_buf *json, sail_buf *config, sail_err *err)
{
    json_t *root;
    SAIL_TRY(build(v, &root, err));
    sail_code code = dump(root, 1, json, err);
    json_decref(root);
    SAIL_TRY(code);
    json_t *c =
        json_pack("{s:s, s:b, s:o, s:o, s:o, s:o}", "tokenizer_class", "PreTrainedTokenizerFast",
                  "clean_up_tokenization_spaces", 0, "bos_token", special_name(v, v->bos), "eos_token",
                  special_name(v, v->eos), "pad_token", special_name(v, v->pad), "unk_token", special_name(v, v->unk));
    if (c && v->chat_template)
        json_object_set_new(c, "chat_template", json_string(v->chat_template));
    code = c ? dump(c, 2, config, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    json_decref(c);
    return code;
}
