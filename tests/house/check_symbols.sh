#!/bin/sh
# Every symbol that a shared library exports begins with uqff_, so nothing clashes with ggml's or
# anybody's, and no library writes to the terminal, ends the process or reads the environment.
set -eu
status=0
for library in "$@"; do
    exported=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -vE '^uqff_|^_(init|fini)$' || true)
    if [ -n "$exported" ]; then
        echo "$library exports: $exported"
        status=1
    fi
    [ "$(nm -D --defined-only "$library" | grep -c ' uqff_')" -gt 0 ] || {
        echo "$library exports nothing"
        status=1
    }
    # printf-like functions that write to a stream, and what ends a process. The sanitizers and
    # OpenMP's runtime bring none of these in under their plain names.
    used=$(nm -D --undefined-only "$library" | awk '{print $2}' | sed 's/@.*//' |
        grep -xE 'printf|puts|putchar|perror|exit|_exit|abort|getenv|secure_getenv|__printf_chk' || true)
    if [ -n "$used" ]; then
        echo "$library uses: $used"
        status=1
    fi
done
exit $status
