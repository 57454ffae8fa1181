#!/bin/sh
# Installs the build to a scratch prefix and builds small programs against it: by find_package (static
# and shared, C and C++), by pkg-config (static and shared), and as a subproject.
set -eu
build=$1
source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
    echo "$*"
    exit 1
}

DESTDIR= cmake --install "$build" --prefix "$scratch/prefix" >/dev/null
# The installed tree must work where it is, not where it was built.
mv "$scratch/prefix" "$scratch/moved"
model=$source/testdata/storyteller

# ---- find_package --------------------------------------------------------------------------------
configure() {
    kind=$1
    shift
    cmake -S "$source/tests/house/consumer" -B "$scratch/$kind" -DCMAKE_PREFIX_PATH="$scratch/moved" "$@" \
        >"$scratch/log" 2>&1
}
consume() {
    configure "$@" && cmake --build "$scratch/$1" >>"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        exit 1
    }
    "$scratch/$1/consumer" "$model"
}
consume static
consume shared -DBUILD_SHARED_LIBS=ON
if command -v c++ >/dev/null; then
    consume cxx -DCONSUMER_LANGUAGE=CXX
    consume cxx-shared -DCONSUMER_LANGUAGE=CXX -DBUILD_SHARED_LIBS=ON
fi
# Where what the static libraries stand on is missing, the package says so, and the shared ones do without.
export PKG_CONFIG_LIBDIR="$scratch/nowhere"
! configure bare || fail "the static libraries were found without what they need"
tr -s ' \n' ' ' <"$scratch/log" | grep -q 'the static libraries need PkgConfig::XXHASH' || fail "$(cat "$scratch/log")"
configure bare-shared -DBUILD_SHARED_LIBS=ON || fail "$(cat "$scratch/log")"
unset PKG_CONFIG_LIBDIR

# ---- pkg-config ----------------------------------------------------------------------------------
PKG_CONFIG_PATH=$(dirname "$(find "$scratch/moved" -name uqff.pc)")
export PKG_CONFIG_PATH
libraries=$(dirname "$(find "$scratch/moved" -name 'libuqff.so.0')")
strict="-std=c11 -Wall -Wextra -Wpedantic -Werror"
cc $strict "$source/tests/house/consumer/consumer.c" -o "$scratch/by-pkg-config" $(pkg-config --cflags --libs uqff)
LD_LIBRARY_PATH=$libraries "$scratch/by-pkg-config"

# The example, which the README shows, by the static libraries alone.
example=$(find "$scratch/moved" -name read_model.c)
awk '/^```c$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$source/README.md" | cmp - "$example"
mkdir "$scratch/archives"
cp "$libraries"/*.a "$scratch/archives"
cc $strict "$example" -o "$scratch/read_model" $(pkg-config --cflags uqff) -L"$scratch/archives" \
    $(pkg-config --static --libs-only-l --libs-only-other uqff)
"$scratch/read_model" "$model" >"$scratch/out"
[ "$(head -1 "$scratch/out")" = "lm_head BF16: -0.0908203 -0.0405273 …" ] || fail "$(head -1 "$scratch/out")"
[ "$(wc -l <"$scratch/out")" = 30 ] || fail "$(cat "$scratch/out")"
! "$scratch/read_model" "$model/x" 2>"$scratch/out"
[ "$(cat "$scratch/out")" = "$model/x: cannot open: No such file or directory" ] || fail "$(cat "$scratch/out")"

# ---- documents -----------------------------------------------------------------------------------
for page in $(grep -hoE '(spec|docs)/[a-z0-9-]+\.md' "$scratch"/moved/include/uqff/*.h | sort -u); do
    [ -f "$scratch/moved/share/doc/uqff/$page" ] || fail "the headers refer to $page, which is not installed"
done
for name in $(grep -ohE '`uqff_[a-z0-9_]+`' "$scratch/moved/share/doc/uqff/docs/library.md" | tr -d '\140' | sort -u); do
    cat "$scratch"/moved/include/uqff/*.h | grep -qw "$name" || fail "library.md speaks of $name, which no header has"
done

# ---- a subproject --------------------------------------------------------------------------------
cmake -S "$source/tests/house/consumer" -B "$scratch/sub" -DUQFF_SOURCE="$source" >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    exit 1
}
[ ! -e "$scratch/sub/uqff/tests" ] || fail "a subproject builds no tests"
