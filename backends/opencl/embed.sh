#!/bin/sh
# embed.sh OUT FILE.cl… - the sources of kernels as a table of C strings.
set -eu
out=$1
shift
{
    echo '/* Made from kernels/ by embed.sh. */'
    echo '#include "opencl.h"'
    echo 'const ocl_source ocl_sources[] = {'
    for f in "$@"; do
        name=${f##*/}
        printf '    {"%s",\n' "${name%.cl}"
        sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/     "/' -e 's/$/\\n"/' "$f"
        echo '    },'
    done
    echo '    {0},'
    echo '};'
} >"$out"
