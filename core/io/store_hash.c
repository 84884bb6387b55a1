/* store_hash.c - hashes over what the run store holds. */
#include "store.h"
#include "hash.h"

#include <string.h>

void sail__verdict_key(const char *judge, const char *template_text, const char *prompt, const char *const *responses, int k,
                       char key[33])
{
    sail__hasher h;
    sail__hasher_begin(&h);
    sail__hasher_text(&h, judge);
    sail__hasher_text(&h, template_text);
    sail__hasher_text(&h, prompt);
    sail__hasher_integer(&h, k);
    for (int i = 0; i < k; i++)
        sail__hasher_text(&h, responses[i]);
    sail__hasher_hex(&h, key);
}

static bool timed(const char *name) { return !strncmp(name, "time/", 5) || !strncmp(name, "memory/", 7); }

static void hash_samples(sail__hasher *h, const sail__sample *samples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const sail__sample *p = &samples[i];
        sail__hasher_text(h, p->stage);
        sail__hasher_integer(h, p->step);
        sail__hasher_text(h, p->kind);
        sail__hasher_integer(h, p->index);
        sail__hasher_text(h, p->route);
        sail__hasher_bytes(h, p->prompt_ids, p->n_prompt * sizeof *p->prompt_ids);
        sail__hasher_text(h, p->prompt);
        sail__hasher_integer(h, p->outcome);
        sail__hasher_integer(h, p->k);
        for (int k = 0; k < p->k; k++) {
            const sail__sample_response *r = &p->responses[k];
            sail__hasher_text(h, r->writer);
            sail__hasher_bytes(h, r->ids, r->ids ? r->n * sizeof *r->ids : 0);
            sail__hasher_text(h, r->text);
            sail__hasher_bytes(h, r->logps, r->logps ? r->n * sizeof *r->logps : 0);
            sail__hasher_number(h, r->score);
        }
    }
}

static sail_code hash_store(sail__store *s, sail_arena *a, sail__hasher *h, sail_err *err)
{
    sail__metric_row *metrics = NULL;
    sail__sample *samples = NULL;
    sail__verdict_row *verdicts = NULL;
    size_t n = 0;
    SAIL_TRY(sail__store_metrics(s, a, NULL, NULL, &metrics, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (timed(metrics[i].name))
            continue;
        sail__hasher_text(h, metrics[i].stage);
        sail__hasher_text(h, metrics[i].name);
        sail__hasher_integer(h, metrics[i].step);
        sail__hasher_number(h, metrics[i].value);
    }
    SAIL_TRY(sail__store_samples(s, a, NULL, NULL, INT64_MIN, INT64_MAX, 0, &samples, &n, err));
    hash_samples(h, samples, n);
    SAIL_TRY(sail__store_verdicts(s, a, NULL, &verdicts, &n, err));
    for (size_t i = 0; i < n; i++) {
        sail__hasher_text(h, verdicts[i].key);
        sail__hasher_integer(h, verdicts[i].outcome);
        for (int k = 0; k < verdicts[i].k; k++)
            sail__hasher_number(h, verdicts[i].score[k]);
        sail__hasher_text(h, verdicts[i].provenance);
    }
    return SAIL_OK;
}

sail_code sail__store_hash(sail__store *s, char hex[33], sail_err *err)
{
    hex[0] = '\0';
    sail_arena *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "hashing a run store: out of memory");
    sail__hasher h;
    sail__hasher_begin(&h);
    sail_code code = hash_store(s, a, &h, err);
    if (code == SAIL_OK)
        sail__hasher_hex(&h, hex);
    sail__arena_free(a);
    return code;
}
