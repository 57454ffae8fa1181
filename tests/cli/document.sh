#!/bin/sh
# Runs the examples of a document: document.sh UQFF SOURCE DOCUMENT.md.
#
# Every block between "```console" and "```" is a piece of a transcript; all of them together are run by
# run.sh in one folder, so a later block may use what an earlier one wrote. UPDATE=1 puts into the document
# what was printed.
set -eu
uqff=$1 source=$2 document=$3
here=$(dirname "$0")
case=$(mktemp)
trap 'rm -f "$case" "$case.new"' EXIT
# The paths are those that a reader in a clone would type.
{
    echo "#data testdata"
    awk '/^```console$/ {inside = 1; next} /^```$/ {if (inside) print "#block"; inside = 0} inside && NF' "$document"
} >"$case"
[ "$(grep -c '^\$ ' "$case")" -gt 0 ] || {
    echo "$document: no examples"
    exit 1
}
status=0
"$here/run.sh" "$uqff" "$source" "$case" || status=$?
if [ -n "${UPDATE:-}" ]; then
    sed -i '/^#data /d' "$case"
    awk -v case="$case" '
        /^```console$/ {
            print
            inside = 1
            while ((getline line < case) > 0 && line != "#block") print line
            next
        }
        /^```$/ {inside = 0}
        !inside' "$document" >"$case.new"
    cat "$case.new" >"$document"
fi
exit $status
