/* jinja_container.c - methods of mappings and lists, as Python has them. */
#include "jinja_impl.h"

SAIL__JFN(get)
{
    if (args->n < 1 || args->n > 2 || args->n_named)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "get expected 1 or 2 arguments, got %zu", args->n + args->n_named);
    const sail__jv *v;
    if (args->items[0].kind == SAIL__J_LIST || args->items[0].kind == SAIL__J_DICT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unhashable type: '%s'", sail__jtype(&args->items[0]));
    if (!sail__jdict_get(vm, self->dict, args->items[0], &v))
        return false;
    *out = v ? *v : args->n == 2 ? args->items[1] : SAIL__JV_NONE;
    return true;
}

SAIL__JFN(keys)
{
    (void)args;
    return sail__jv_iter(vm, SAIL__J_VIEW, "dict_keys", self->dict->keys, self->dict->n, out);
}
SAIL__JFN(values)
{
    (void)args;
    return sail__jv_iter(vm, SAIL__J_VIEW, "dict_values", self->dict->values, self->dict->n, out);
}
SAIL__JFN(items)
{
    SAIL__JBIND("items", "", 0);
    (void)a;
    const sail__jdict *d = self->dict;
    sail__jv *l = sail__jalloc(vm, d->n + 1, sizeof *l), *two = sail__jalloc(vm, 2 * d->n + 1, sizeof *two);
    if (!l || !two || !sail__jstep(vm, d->n))
        return false;
    for (size_t i = 0; i < d->n; i++) {
        two[2 * i] = d->keys[i];
        two[2 * i + 1] = d->values[i];
        if (!sail__jv_list(vm, SAIL__J_TUPLE, two + 2 * i, 2, &l[i]))
            return false;
    }
    return sail__jv_iter(vm, SAIL__J_VIEW, "dict_items", l, d->n, out);
}
SAIL__JFN(copy)
{
    (void)vm;
    (void)args;
    *out = *self; /* nothing can change it */
    return true;
}

SAIL__JFN(list_index)
{
    SAIL__JBIND("index", "value", 1);
    bool equal = false;
    for (size_t i = 0; i < self->list->n; i++) {
        if (!sail__jequal(vm, &self->list->items[i], &a[0], &equal))
            return false;
        if (equal) {
            *out = SAIL__JV(INT, .integer = (sail__jint)i);
            return true;
        }
    }
    return sail__jfail(vm, SAIL__JINJA_RUNTIME, "the value is not in the list");
}
SAIL__JFN(list_count)
{
    SAIL__JBIND("count", "value", 1);
    int64_t n = 0;
    bool equal = false;
    for (size_t i = 0; i < self->list->n; i++) {
        if (!sail__jequal(vm, &self->list->items[i], &a[0], &equal))
            return false;
        n += equal;
    }
    *out = SAIL__JV(INT, .integer = n);
    return true;
}

const sail__jentry sail__jmethods_dict[] = {
    {"copy", copy}, {"get", get}, {"items", items}, {"keys", keys}, {"values", values}, {NULL, NULL},
};
const sail__jentry sail__jmethods_list[] = {{"copy", copy}, {"count", list_count}, {"index", list_index}, {NULL, NULL}};
