#!/bin/sh
# Installs the build to a scratch prefix and builds a small consumer against it: by find_package
# (static and shared), by pkg-config, and as a subproject.
set -eu
build=$1
source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

DESTDIR= cmake --install "$build" --prefix "$scratch/prefix" >/dev/null
# The installed tree must work where it is, not where it was built.
mv "$scratch/prefix" "$scratch/moved"

consume() {
    kind=$1
    shift
    cmake -S "$source/tests/house/consumer" -B "$scratch/$kind" "$@" >"$scratch/log" 2>&1 &&
        cmake --build "$scratch/$kind" >>"$scratch/log" 2>&1 || {
        cat "$scratch/log"
        exit 1
    }
    LD_LIBRARY_PATH=$(dirname "$(find "$scratch/moved" -name 'libuqff.so.0')") "$scratch/$kind/consumer"
}
consume static -DCMAKE_PREFIX_PATH="$scratch/moved"
consume shared -DCMAKE_PREFIX_PATH="$scratch/moved" -DBUILD_SHARED_LIBS=ON

PKG_CONFIG_PATH=$(dirname "$(find "$scratch/moved" -name uqff.pc)")
export PKG_CONFIG_PATH
cc "$source/tests/house/consumer/consumer.c" -o "$scratch/by-pkg-config" $(pkg-config --cflags --libs uqff)
LD_LIBRARY_PATH=$(dirname "$(find "$scratch/moved" -name 'libuqff.so.0')") "$scratch/by-pkg-config"

cmake -S "$source/tests/house/consumer" -B "$scratch/sub" -DUQFF_SOURCE="$source" >"$scratch/log" 2>&1 || {
    cat "$scratch/log"
    exit 1
}
[ ! -e "$scratch/sub/uqff/tests" ] || {
    echo "a subproject builds no tests"
    exit 1
}
