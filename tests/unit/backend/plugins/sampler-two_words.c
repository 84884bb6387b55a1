/* sampler-two_words.c - a name with an underscore, no options. */
#include "common.h"

static int answer(void)
{
    return 2;
}

static const struct test_ops ops = {.size = sizeof ops, .answer = answer};
SAIL_PLUGIN_NO_OPTIONS(SAIL_KIND_SAMPLER, two_words, "two words", "", &ops, 0)
