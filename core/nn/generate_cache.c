/* generate_cache.c - the pages of a generator's key/value cache, and what of it is kept between two calls. */
#include <string.h>

#include "generate_impl.h"
#include "long_rope.h"

static void free_tensors(sail__generator *g)
{
    for (int i = g->first_cache; g->bind && i < g->n_bind; i++)
        sail__tensor_free(g->view.rt, &g->bind[i]);
}

void sail__cache_drop(sail__generator *g)
{
    free_tensors(g);
    sail__free(g->free_pages);
    g->free_pages = NULL;
    g->pages = g->n_free = g->n_kept = 0;
}

void sail__cache_reset(sail__generator *g)
{
    g->n_free = g->pages;
    for (int64_t i = 0; i < g->pages; i++)
        g->free_pages[i] = (int32_t)(g->pages - 1 - i);
}

/* A layer's keys or values in more rows; the first `rows` of them are those that were. */
static sail_code grow(sail__generator *g, sail_tensor *t, int64_t pages, int64_t rows, sail_err *err)
{
    const sail__model_config *c = g->view.config;
    sail_tensor more = {0};
    SAIL_TRY(sail__tensor_alloc(g->view.rt, g->view.spec->dtype, pages * PAGE, (int64_t)c->kv_heads * c->head_dim, &more, err));
    sail_code code = SAIL_OK;
    if (rows > 0)
        code = g->view.rt->backend->copy(g->view.rt->device, more.buffer, more.offset, t->buffer, t->offset,
                                         sail_dtype_bytes(more.dtype, (uint64_t)(rows * more.ld)), err);
    sail__tensor_free(g->view.rt, code == SAIL_OK ? t : &more);
    if (code == SAIL_OK)
        *t = more;
    return code;
}

sail_code sail__cache_make(sail__generator *g, int64_t pages, sail_err *err)
{
    if (pages <= g->pages)
        return SAIL_OK;
    const int64_t rows = g->n_kept;
    const int64_t most = sail__pages_for(sail__model_positions(g->model));
    if (g->keeps && pages < 2 * g->pages) /* a conversation grows with every turn */
        pages = 2 * g->pages < most ? 2 * g->pages : most;
    sail__free(g->free_pages);
    g->free_pages = sail__malloc((size_t)pages * sizeof *g->free_pages);
    if (!g->free_pages) {
        sail__cache_drop(g);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    if (!rows)
        free_tensors(g);
    for (int i = g->first_cache; i < g->n_bind; i++)
        if (grow(g, &g->bind[i], pages, rows, err) != SAIL_OK) {
            sail__cache_drop(g);
            return sail_fail_in(err, "key/value cache of %lld tokens", (long long)(pages * PAGE));
        }
    g->pages = pages;
    sail__cache_reset(g);
    return g->beside ? sail__cache_make(g->beside, pages, err) : SAIL_OK;
}

/* ---- pages ---- */

bool sail__may_outgrow(const sail__generator *g, const sail__gen_request *r)
{
    const int64_t most = sail__short_length(g->view.config);
    return most > 0 && r->n_prompt <= most && r->n_prompt + r->max_new > most;
}

int sail__pages_for(int64_t tokens) { return (int)((tokens + PAGE - 1) / PAGE); }

int sail__prompt_pages(const sail__generator *g, const sail__gen_request *r) { return g->keeps ? 0 : sail__pages_for(r->n_prompt); }

int sail__child_pages(const sail__generator *g, const sail__gen_request *r)
{
    return sail__pages_for(g->keeps || sail__may_outgrow(g, r) ? r->n_prompt + r->max_new : r->max_new);
}

void sail__take_pages(sail__generator *g, int32_t *pages, int n)
{
    for (int i = 0; i < n; i++)
        pages[i] = g->free_pages[--g->n_free];
}

void sail__give_pages(sail__generator *g, const int32_t *pages, int n)
{
    for (int i = n; i-- > 0;)
        g->free_pages[g->n_free++] = pages[i];
}

/* ---- what is kept ---- */

/* Keys are turned by one of two forms, by the length of all. */
static bool is_long(const sail__generator *g, int64_t n)
{
    const int64_t most = sail__short_length(g->view.config);
    return most > 0 && n > most;
}

int64_t sail__cache_known(const sail__generator *g, const sail__gen_request *r)
{
    int64_t n = 0, most = g->n_kept < r->n_prompt - 1 ? g->n_kept : r->n_prompt - 1;
    if (is_long(g, g->n_kept) != is_long(g, r->n_prompt))
        return 0;
    while (n < most && g->kept[n] == r->prompt[n])
        n++;
    return n;
}

sail_code sail__cache_keep(sail__generator *g, const sail__gen_request *r, const sail__gen_response *response, sail_err *err)
{
    const int64_t own = response->n - 1; /* the last token was drawn, and never went through the model */
    g->n_kept = 0;
    SAIL_TRY(sail__grow(&g->kept, &g->cap_kept, (size_t)(r->n_prompt + own), sizeof *g->kept, err));
    memcpy(g->kept, r->prompt, (size_t)r->n_prompt * sizeof *g->kept);
    if (own > 0)
        memcpy(g->kept + r->n_prompt, response->ids, (size_t)own * sizeof *g->kept);
    g->n_kept = r->n_prompt + own;
    return SAIL_OK;
}
