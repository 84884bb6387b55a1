/* sampler-nosymbol.c - a shared object that is no plugin. */
#include "common.h"

extern __attribute__((visibility("default"))) int sail_other_symbol(void);
int sail_other_symbol(void)
{
    return 0;
}
