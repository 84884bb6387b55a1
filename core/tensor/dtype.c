/* dtype.c - the table of data types. */
#include <strings.h>

#include "../sail/tensor.h"

static const struct {
    const char *name;
    size_t bytes, elements;
} table[] = {
#define DTYPE(name, text, bytes, elements) {text, bytes, elements},
    SAIL_DTYPES(DTYPE)
#undef DTYPE
};

const char *sail_dtype_name(sail_dtype t)
{
    return (unsigned)t < SAIL_DTYPE_COUNT ? table[t].name : "unknown";
}

bool sail_dtype_parse(const char *name, sail_dtype *out)
{
    /* as Hugging Face's configurations write them */
    static const struct {
        const char *name;
        sail_dtype t;
    } also[] = {{"float32", SAIL_F32}, {"bfloat16", SAIL_BF16}, {"float16", SAIL_F16}, {"float64", SAIL_F64},
                {"int32", SAIL_I32},   {"int64", SAIL_I64},     {"uint8", SAIL_U8}};
    for (int t = 0; t < SAIL_DTYPE_COUNT; t++)
        if (strcasecmp(name, table[t].name) == 0) {
            *out = (sail_dtype)t;
            return true;
        }
    for (size_t i = 0; i < sizeof also / sizeof *also; i++)
        if (strcasecmp(name, also[i].name) == 0) {
            *out = also[i].t;
            return true;
        }
    return false;
}

size_t sail_dtype_block_bytes(sail_dtype t)
{
    return (unsigned)t < SAIL_DTYPE_COUNT ? table[t].bytes : 0;
}

size_t sail_dtype_block_elements(sail_dtype t)
{
    return (unsigned)t < SAIL_DTYPE_COUNT ? table[t].elements : 0;
}

bool sail_dtype_is_quantised(sail_dtype t)
{
    return sail_dtype_block_elements(t) > 1;
}

size_t sail_dtype_bytes(sail_dtype t, uint64_t n)
{
    size_t elements = sail_dtype_block_elements(t), bytes;
    if (elements == 0 || n % elements != 0 || __builtin_mul_overflow(n / elements, table[t].bytes, &bytes))
        return SIZE_MAX;
    return bytes;
}
