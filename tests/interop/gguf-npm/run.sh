#!/bin/sh
# GGUF files against software of others: @huggingface/gguf reads what uqff writes, and llama.cpp, prebuilt
# in node-llama-cpp, loads it, tokenizes and generates.
#
#     run.sh UQFF TESTDATA WORK
#
# The packages come from the npm registry into WORK and stay there. Skipped (77) where Node.js is missing or
# too old, or the registry does not answer.
set -eu
uqff=$1
testdata=$2
work=$3
here=$(cd "$(dirname "$0")" && pwd)

skip() {
    echo "[  SKIPPED ] gguf-npm: $*"
    exit 77
}

command -v node >/dev/null && command -v npm >/dev/null || skip "there is no Node.js with npm"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
    skip "Node.js $(node --version) is too old, 20 is needed"
case $(uname -s)-$(uname -m) in
Linux-x86_64) platform=linux-x64 ;;
Linux-aarch64) platform=linux-arm64 ;;
*) skip "llama.cpp is not prebuilt for $(uname -s) on $(uname -m)" ;;
esac

# The optional packages are the same program for graphics cards and other systems; one is needed.
export NODE_LLAMA_CPP_SKIP_DOWNLOAD=true
export npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false
install() {
    version=$(sed -n 's/.*"node-llama-cpp": "\(.*\)".*/\1/p' package.json)
    timeout 200 npm install --ignore-scripts --omit=optional --no-package-lock --no-save --prefer-offline \
        --fetch-retries=1 --fetch-timeout=20000 . "@node-llama-cpp/$platform@$version"
}
mkdir -p "$work"
if ! cmp -s "$here/package.json" "$work/installed.json"; then
    rm -rf "$work/node_modules" "$work/installed.json"
    cp "$here/package.json" "$work/package.json"
    (cd "$work" && install) >"$work/install.log" 2>&1 || {
        tail -n 3 "$work/install.log"
        skip "the npm registry does not answer"
    }
    cp "$here/package.json" "$work/installed.json"
fi
cp "$here"/*.mjs "$work/"

files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
quants=f32,f16,bf16,q8_0,q6_k,q5_k_m,q5_1,q4_k_m,q4_1,q4_0,iq4_nl,iq4_xs,q3_k_m,q2_k,tq1_0,tq2_0,mxfp4
"$uqff" pack "$testdata/storyteller" -q "$quants" --format gguf -o "$files" --quiet
"$uqff" pack "$testdata/storyteller" -q q4_k_s,q2_k_s --imatrix "$testdata/storyteller/imatrix.gguf" \
    --format gguf -o "$files" --set custom.large=u64:18446744073709551615 --quiet 2>/dev/null
"$uqff" pack "$testdata/storyteller" -q q5_k_s --max-shard 1M --format gguf -o "$files" --quiet
if [ -n "${UQFF_EXTRA_DATA:-}" ]; then # a SentencePiece vocabulary
    "$uqff" pack "$UQFF_EXTRA_DATA/models/stories260K/hf" -q f16 --format gguf -o "$files" --quiet
fi
"$uqff" pack "$files/storyteller-F32.gguf" -q q5_0 --format gguf -o "$files/again-Q5_0.gguf" --quiet

cd "$work"
mkdir "$files/models" "$files/architectures"
for model in $(node make_models.mjs "$files/models" "$testdata/storyteller"); do
    "$uqff" pack "$files/models/$model" -q q8_0 --format gguf -o "$files/architectures" --quiet
done
node generate.mjs --any "Once upon a time, there was a little girl." "$files"/architectures/*.gguf

for file in "$files"/*.gguf; do
    case $file in
    *-00001-of-*) ;;
    *-of-*) continue ;;
    esac
    "$uqff" inspect --json --metadata --tensors "$file" >"$files/inspection.json"
    case $file in
    *-of-*) ;; # read as a whole here, and file by file there
    *) node compare.mjs "$file" "$files/inspection.json" ;;
    esac
    set -- "$@" "$file"
done
shift 3
node generate.mjs "Once upon a time, there was a little girl." "$@"
