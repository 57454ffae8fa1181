#!/bin/sh
# Runs one transcript: run.sh UQFF SOURCE CASE.
#
# A case is a text file of paragraphs. A line "$ command" is run by the shell; the lines below it are what
# it must print: standard output as it is, standard error with "! " in front, then "(exit N)" unless N is
# 0. Lines that begin with '#' are comments. All commands run in one scratch folder, in one shell, where
# `data` leads to testdata/ (a line "#data NAME" calls it NAME) and, in a case that has a line "#needs corpus", `bad` to the malformed files.
# "#needs PROGRAM" skips the case (exit code 77) where there is no such program.
#
# UPDATE=1 writes what was printed into the case instead: look at the difference before keeping it.
set -u
uqff=$1 source=$2 case=$3

for program in $(sed -n 's/^#needs //p' "$case"); do
    [ "$program" = corpus ] && program=xz
    command -v "$program" >/dev/null || {
        echo "skipped: there is no $program"
        exit 77
    }
done

scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
mkdir "$scratch/bin" "$scratch/desk" "$scratch/log"
ln -s "$uqff" "$scratch/bin/uqff"
name=$(sed -n 's/^#data //p' "$case")
ln -s "$source/testdata" "$scratch/desk/${name:-data}"
if grep -q '^#needs corpus$' "$case"; then
    mkdir "$scratch/desk/bad"
    xz -dc "$source/testdata/badfiles/corpus.tar.xz" | tar -xf - -C "$scratch/desk/bad" || exit 1
    # The archive may or may not have a folder around it.
    [ -e "$scratch/desk/bad/g_ok_kv_only.gguf" ] || {
        inner=$(dirname "$(find "$scratch/desk/bad" -name g_ok_kv_only.gguf | head -n 1)")
        mv "$inner" "$scratch/inner" && rm -rf "$scratch/desk/bad" && mv "$scratch/inner" "$scratch/desk/bad"
    }
fi

# The environment that the program looks at, the same everywhere.
unset NO_COLOR CI COLUMNS UQFF_CPU UQFF_EXTRA_DATA
PATH=$scratch/bin:$PATH TERM=xterm LC_ALL=C.UTF-8
export PATH TERM LC_ALL
log=$scratch/log
cd "$scratch/desk" || exit 1

# A blank line of the case parts two paragraphs only if a command or a comment comes next: others stand in
# what a command prints. As many are written as make up for those that the output itself ends with.
part_() {
    [ "$blank_" = 0 ] && return
    ends_=$(awk '{ n = $0 == "" ? n + 1 : 0 } END { print n + 0 }' "$log/found")
    while [ "$ends_" -lt "$blank_" ]; do
        echo >>"$log/found"
        ends_=$((ends_ + 1))
    done
    blank_=0
}

: >"$log/found"
blank_=0
exec 3<"$case"
while IFS= read -r line_ <&3; do
    case $line_ in
    '$ '*)
        part_
        printf '%s\n' "$line_" >>"$log/found"
        eval "${line_#??}" >"$log/out" 2>"$log/err" </dev/null 3<&-
        status_=$?
        cat "$log/out" >>"$log/found"
        # A last line without its end must not swallow what comes behind it.
        [ -z "$(tail -c 1 "$log/out")" ] || printf '(no newline)\n' >>"$log/found"
        sed 's/^/! /' "$log/err" >>"$log/found"
        [ $status_ = 0 ] || printf '(exit %d)\n' $status_ >>"$log/found"
        ;;
    '#'*)
        part_
        printf '%s\n' "$line_" >>"$log/found"
        ;;
    '') blank_=$((blank_ + 1)) ;;
    *) blank_=0 ;;
    esac
done
cd /

# What a sanitizer says must not hide in an expectation.
if grep -qE 'AddressSanitizer|LeakSanitizer|runtime error:' "$log/found"; then
    cat "$log/found"
    exit 1
fi
# Blank lines part paragraphs, and output may hold some: they do not count.
grep -v '^$' "$log/found" >"$log/found.dense"
grep -v '^$' "$case" >"$log/case.dense"
if cmp -s "$log/found.dense" "$log/case.dense"; then
    exit 0
fi
if [ -n "${UPDATE:-}" ]; then
    cp "$log/found" "$case"
    echo "updated $case"
    exit 0
fi
diff -u "$log/case.dense" "$log/found.dense"
exit 1
