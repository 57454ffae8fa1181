#!/bin/sh
# Every public header compiles alone, as C11 and as C++, with pedantic warnings.
set -eu
compiler=$1
root=$2
count=0
for header in "$root"/libuqff/include/uqff/*.h "$root"/quantizers/include/uqff/*.h "$root"/libgguf/include/uqff/*.h; do
    name=uqff/$(basename "$header")
    for language in c c++; do
        standard=c11
        if [ $language = c++ ]; then
            standard=c++17
            command -v g++ >/dev/null || continue
        fi
        printf '#include "%s"\nextern int nothing_else;\n' "$name" | "$compiler" -x $language -std=$standard -Wall -Wextra -Wpedantic -Werror \
            -fsyntax-only -I"$root/libuqff/include" -I"$root/quantizers/include" -I"$root/libgguf/include" -
        count=$((count + 1))
    done
done
echo "$count compilations"
[ "$count" -ge 6 ]
