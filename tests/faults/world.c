/* world.c - what the fault tests need besides the program: a tiny model with preference data, and a look into a run.
 *
 *   world make DIR          DIR/model (config.json, model.safetensors), DIR/pairs.jsonl
 *   world make-nan DIR      the same, with one NaN among the weights
 *   world hash RUN          the run store's hash (metrics, samples, verdicts; no times)
 *   world finite FILE …     fails where a safetensors file holds a number that is not finite
 *   world set FILE AT BYTE  one byte of a file; AT < 0: from its end */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "io/store.h"
#include "sail/rng.h"

enum { VOCAB = 64, WIDTH = 32, HEADS = 4, KV = 2, HEAD = 8, FF = 64, LAYERS = 2, ROWS = 48, SEED = 17 };

static int failed(const sail_err *err)
{
    fprintf(stderr, "world: %s\n", err->message);
    return 1;
}

static int write_config(const char *dir, sail_err *err)
{
    char text[1024], path[4096];
    int n = snprintf(text, sizeof text,
                     "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": %d, \"num_hidden_layers\": %d,\n"
                     " \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"head_dim\": %d, \"intermediate_size\": %d,\n"
                     " \"vocab_size\": %d, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"max_position_embeddings\": 256,\n"
                     " \"tie_word_embeddings\": false, \"hidden_act\": \"silu\", \"attention_bias\": false, \"mlp_bias\": false,\n"
                     " \"eos_token_id\": 2, \"torch_dtype\": \"float32\"}\n",
                     WIDTH, LAYERS, HEADS, KV, HEAD, FF, VOCAB);
    snprintf(path, sizeof path, "%s/model/config.json", dir);
    return sail__file_write(path, text, (size_t)n, err) == SAIL_OK ? 0 : failed(err);
}

static void add(sail__st_entry *e, size_t *n, const char *name, int64_t rows, int64_t cols)
{
    int64_t count = rows * (cols ? cols : 1);
    float *x = malloc((size_t)count * sizeof *x);
    char *copy = strdup(name);
    if (!x || !copy)
        exit(1);
    for (int64_t i = 0; i < count; i++)
        x[i] = cols ? (float)(0.2 * sail_rng_normal(SEED, SAIL_RNG_INIT, 0, *n, (uint64_t)i)) : 1;
    e[(*n)++] = (sail__st_entry){copy, SAIL_F32, cols ? 2 : 1, {rows, cols}, x};
}

static int write_model(const char *dir, bool nan, sail_err *err)
{
    static const struct {
        const char *name;
        int rows, cols;
    } layer[] = {{"self_attn.q_proj", HEADS * HEAD, WIDTH}, {"self_attn.k_proj", KV * HEAD, WIDTH}, {"self_attn.v_proj", KV * HEAD, WIDTH},
                 {"self_attn.o_proj", WIDTH, HEADS * HEAD}, {"mlp.gate_proj", FF, WIDTH},           {"mlp.up_proj", FF, WIDTH},
                 {"mlp.down_proj", WIDTH, FF},              {"input_layernorm", WIDTH, 0},          {"post_attention_layernorm", WIDTH, 0}};
    sail__st_entry e[64];
    size_t n = 0;
    char name[256], path[4096];
    add(e, &n, "model.embed_tokens.weight", VOCAB, WIDTH);
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof layer / sizeof layer[0]; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", l, layer[i].name);
            add(e, &n, name, layer[i].rows, layer[i].cols);
        }
    add(e, &n, "model.norm.weight", WIDTH, 0);
    add(e, &n, "lm_head.weight", VOCAB, WIDTH);
    if (nan)
        *(float *)e[3].data = NAN;
    snprintf(path, sizeof path, "%s/model/model.safetensors", dir);
    sail_code code = sail__safetensors_save(path, e, n, NULL, err);
    for (size_t i = 0; i < n; i++) {
        free((void *)e[i].name);
        free((void *)e[i].data);
    }
    return code == SAIL_OK ? 0 : failed(err);
}

static void ids(sail_buf *b, const char *key, int row, int part, int least, int most, bool end)
{
    uint64_t at = (uint64_t)(row * 4 + part);
    int n = least + (int)(sail_rng_uniform(SEED, SAIL_RNG_USER, at, 0, 0) * (most - least + 1));
    sail__buf_printf(b, "\"%s\": [", key);
    for (int i = 0; i < n; i++)
        sail__buf_printf(b, "%s%d", i ? ", " : "", 3 + (int)(sail_rng_uniform(SEED, SAIL_RNG_USER, at, 1, (uint64_t)i) * (VOCAB - 3)));
    sail__buf_str(b, end ? ", 2]" : "]");
}

static int make(const char *dir, bool nan)
{
    sail_err err = {0};
    char path[4096];
    sail_buf b = {0};
    snprintf(path, sizeof path, "%s/model", dir);
    if (sail__make_dirs(path, &err) != SAIL_OK)
        return failed(&err);
    for (int i = 0; i < ROWS; i++) {
        sail__buf_str(&b, "{");
        ids(&b, "prompt_ids", i, 0, 3, 10, false);
        sail__buf_str(&b, ", ");
        ids(&b, "chosen_ids", i, 1, 2, 8, true);
        sail__buf_str(&b, ", ");
        ids(&b, "rejected_ids", i, 2, 2, 8, true);
        sail__buf_str(&b, "}\n");
    }
    snprintf(path, sizeof path, "%s/pairs.jsonl", dir);
    int status = b.oom ? 1 : sail__file_write(path, b.data, b.len, &err) == SAIL_OK ? 0 : failed(&err);
    sail__buf_free(&b);
    if (status == 0)
        status = write_config(dir, &err);
    return status ? status : write_model(dir, nan, &err);
}

static int hash(const char *run)
{
    sail_err err = {0};
    sail__store *s;
    char path[4096], hex[33];
    snprintf(path, sizeof path, "%s/run.db", run);
    if (sail__store_open(path, SAIL__STORE_READ, &s, &err) != SAIL_OK)
        return failed(&err);
    sail_code code = sail__store_hash(s, hex, &err);
    sail__store_close(s);
    if (code != SAIL_OK)
        return failed(&err);
    puts(hex);
    return 0;
}

static int all_finite(const char *path)
{
    sail_err err = {0};
    sail__safetensors *st;
    int status = 0;
    if (sail__safetensors_open(path, &st, &err) != SAIL_OK)
        return failed(&err);
    for (size_t i = 0; i < sail__safetensors_count(st); i++) {
        const sail__st_tensor *t = sail__safetensors_at(st, i);
        for (size_t k = 0; t->dtype == SAIL_F32 && k < t->bytes / sizeof(float); k++) {
            float v;
            memcpy(&v, (const char *)t->data + k * sizeof v, sizeof v);
            if (!isfinite(v) && status++ == 0)
                fprintf(stderr, "world: %s: %s[%zu] is %g\n", path, t->name, k, (double)v);
        }
    }
    sail__safetensors_close(st);
    return status != 0;
}

static int set_byte(const char *path, long at, int byte)
{
    FILE *f = fopen(path, "r+b");
    if (!f || fseek(f, at, at < 0 ? SEEK_END : SEEK_SET) != 0)
        return 1;
    int old = fgetc(f);
    if (old == EOF || fseek(f, at, at < 0 ? SEEK_END : SEEK_SET) != 0 || fputc(byte < 0 ? old ^ 1 : byte, f) == EOF)
        return 1;
    return fclose(f) != 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "make"))
        return make(argv[2], false);
    if (argc == 3 && !strcmp(argv[1], "make-nan"))
        return make(argv[2], true);
    if (argc == 3 && !strcmp(argv[1], "hash"))
        return hash(argv[2]);
    if (argc == 5 && !strcmp(argv[1], "set"))
        return set_byte(argv[2], atol(argv[3]), atoi(argv[4]));
    if (argc >= 3 && !strcmp(argv[1], "finite")) {
        int status = 0;
        for (int i = 2; i < argc; i++)
            status |= all_finite(argv[i]);
        return status;
    }
    fputs("world: make DIR | make-nan DIR | hash RUN | finite FILE … | set FILE AT BYTE\n", stderr);
    return 2;
}
