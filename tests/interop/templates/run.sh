#!/bin/sh
# Chat templates against @huggingface/jinja, the implementation whose renderings are the standard here.
#
#     run.sh RENDER TESTDATA WORK
#
# The package comes from the npm registry into WORK and stays there. Skipped (77) where Node.js is missing or
# too old, or the registry does not answer. Templates of others are compared too when UQFF_EXTRA_DATA names
# the directory that has them.
set -eu
render=$1
testdata=$2
work=$3
here=$(cd "$(dirname "$0")" && pwd)

skip() {
    echo "[  SKIPPED ] templates: $*"
    exit 77
}

command -v node >/dev/null && command -v npm >/dev/null || skip "there is no Node.js with npm"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
    skip "Node.js $(node --version) is too old, 20 is needed"

export npm_config_update_notifier=false npm_config_audit=false npm_config_fund=false
mkdir -p "$work"
if ! cmp -s "$here/package.json" "$work/installed.json"; then
    rm -rf "$work/node_modules" "$work/installed.json"
    cp "$here/package.json" "$work/package.json"
    (cd "$work" && npm install --ignore-scripts --no-package-lock --no-save --prefer-offline \
        --fetch-retries=1 --fetch-timeout=20000) >"$work/install.log" 2>&1 || {
        tail -n 3 "$work/install.log"
        skip "the npm registry does not answer"
    }
    cp "$here/package.json" "$work/installed.json"
fi
cp "$here"/*.mjs "$work/"
node "$work/oracle.mjs" "$render" "$testdata" ${UQFF_EXTRA_DATA:+"$UQFF_EXTRA_DATA"}
