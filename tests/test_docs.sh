#!/bin/sh
# The pages in tools/doc. Of each, the C blocks are one program (the first block stands outside main), which compiles
# without a warning and prints the numbers in the page's text blocks; so do its Python blocks where python3 has PyTorch.
# Links lead somewhere, and Doxygen makes HTML of the headers and pages without a warning.
# Environment: BUILD, CC, PYTHON, SANITIZE.
set -u
build=${BUILD:-build} cc=${CC:-cc} python=${PYTHON:-python3}
work=$build/docs
mkdir -p "$work"

suite=docs
# shellcheck source=tests/support/checks.sh
. tests/support/checks.sh

case $(uname -s) in Darwin) opencl='-framework OpenCL -DCL_SILENCE_DEPRECATION' ;; *) opencl=-lOpenCL ;; esac

blocks() { awk -v mark="\`\`\`$2" '$0 == mark {inside = 1; next} /^```/ {inside = 0} inside' "$1"; } # PAGE LANGUAGE
program() { # PAGE: with a #line for each block, so that the compiler names the page's lines
    awk -v page="$1" '
        $0 == "```c" {
            inside = 1
            if (++count == 2) print "int main(void) {"
            printf "#line %d \"%s\"\n", NR + 1, page
            next
        }
        /^```/ {inside = 0}
        inside
        END {if (count > 1) print "return 0;\n}"}' "$1"
}
# Word splitting is meant for the lists of flags; check() calls the functions below.
# shellcheck disable=SC2086,SC2317
compile() { # PROGRAM SOURCE
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror ${SANITIZE:-} -Iinclude -o "$1" "$2" "$build/libqkv.a" \
        $opencl -lm -ldl -pthread
}
# A printed number may differ by a unit in its fifth decimal, and be that far off by rounding.
# shellcheck disable=SC2317
prints() { # FILE COMMAND...: the numbers in FILE
    expected=$1
    shift
    "$@" >"$work/printed" || return 1
    tr -s ' ' '\n' <"$expected" >"$work/wanted"
    tr -s ' ' '\n' <"$work/printed" | paste "$work/wanted" - | awk '
        {d = $1 - $2}
        NF != 2 || d > 2.1e-5 || d < -2.1e-5 {print "number " NR ": " $1 " on the page, " $2 " printed"; bad = 1}
        END {exit bad || NR == 0}'
}
# shellcheck disable=SC2317
links_lead() { # PAGE
    # shellcheck disable=SC2013
    for link in $(grep -oE '\]\([^)#]+' "$1" | sed 's/^](//' | grep -v '^https\{0,1\}:'); do
        [ -e "$(dirname "$1")/$link" ] || { echo "no such file: $link"; return 1; }
    done
}

have_torch=
"$python" -c 'import torch' >/dev/null 2>&1 && have_torch=yes
for page in tools/doc/*.md; do
    stem=$(basename "$page" .md)
    check "$stem: links lead to files" links_lead "$page"
    program "$page" >"$work/$stem.c"
    [ -s "$work/$stem.c" ] || continue
    blocks "$page" text >"$work/$stem.txt"
    check "$stem: its C compiles without a warning" compile "$work/$stem" "$work/$stem.c"
    check "$stem: its C prints what the page says" prints "$work/$stem.txt" "$work/$stem"
    blocks "$page" python >"$work/$stem.py"
    [ -s "$work/$stem.py" ] || continue
    if [ -n "$have_torch" ]; then
        check "$stem: its Python prints what the page says" prints "$work/$stem.txt" "$python" "$work/$stem.py"
    else
        skip "$stem: the numbers from PyTorch: $python has no torch"
    fi
done

# shellcheck disable=SC2317
document() {
    env -u MAKEFLAGS -u MAKELEVEL "${MAKE:-make}" --no-print-directory BUILD="$build" doc >"$work/doxygen" 2>&1 ||
        { cat "$work/doxygen"; return 1; }
    ! grep -i warning "$work/doxygen"
}
# shellcheck disable=SC2317
documented() { # each function that the headers declare has a page to be on
    cat include/qkv/*.h | tr '\n' ' ' | grep -oE 'QKV_API [^;(]*\(' | grep -oE 'qkv_[a-z0-9_]+ *\($' | tr -d ' (' |
        while read -r function; do
            grep -q ">$function<" "$build"/doc/*_8h.html || echo "$function"
        done >"$work/missing"
    [ ! -s "$work/missing" ] || { sed 's/$/ is missing/' "$work/missing"; return 1; }
}
if command -v doxygen >/dev/null; then
    check "make doc: Doxygen has no warning" document
    check "make doc: there is a first page" test -s "$build/doc/index.html"
    check "make doc: every function is in it" documented
else
    skip "make doc: doxygen is not installed"
fi

echo "$((checks ? (checks - failures) * 100 / checks : 0))%: Checks: $checks, Failures: $failures, Errors: 0"
[ "$failures" = 0 ]
