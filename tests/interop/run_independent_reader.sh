#!/bin/sh
# Packs the bundled model and has the independent reader go over it, with and without sharing.
set -eu
uqff=$1
testdata=$2
here=$(dirname "$0")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$uqff" pack "$testdata/storyteller" -q q4_k_m,q5_k_m,q6_k,q8_0,q4_0 -o "$scratch/a.uqff" --quiet
python3 "$here/independent_reader.py" "$scratch/a.uqff" "$testdata/storyteller/model.safetensors"
"$uqff" pack "$testdata/storyteller" -q q8_1,q8_0 -o "$scratch/b.uqff" --quiet
python3 "$here/independent_reader.py" "$scratch/b.uqff" "$testdata/storyteller/model.safetensors"
