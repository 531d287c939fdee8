#!/bin/sh
# The programs in tools/examples: they compile without a warning as their first lines say, run, and end well. The
# Python one runs where python3 has pyopencl and NumPy.
# Environment: BUILD, CC, SANITIZE, PYTHON, OCLGRIND_LOG (the device is Oclgrind, which writes there what it finds).
set -u
build=${BUILD:-build} cc=${CC:-cc}
work=${QKV_TEST_WORK:-$build/examples}
mkdir -p "$work"

suite=examples
# shellcheck source=tests/support/checks.sh
. tests/support/checks.sh

case $(uname -s) in
Darwin) opencl='-framework OpenCL -DCL_SILENCE_DEPRECATION' path=DYLD_LIBRARY_PATH library=libqkv.dylib ;;
*) opencl=-lOpenCL path=LD_LIBRARY_PATH library=libqkv.so ;;
esac
# Word splitting is meant for the lists of flags; check() calls the functions below.
# shellcheck disable=SC2086,SC2317
compile() { # SOURCE: with the flags that its head names, which stand for the pkg-config line of an installed library
    flags=
    ! grep -q '^ \*   cc .* -lOpenCL' "$1" || flags=$opencl
    ! grep -q '^ \*   cc .* -pthread' "$1" || flags="$flags -pthread"
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror ${SANITIZE:-} -Iinclude -o "$work/program" "$1" \
        -L"$build" -lqkv $flags
}
# Each process that opens Oclgrind's log empties it, so it is looked at after each.
# shellcheck disable=SC2317
runs() {
    env "$path=$build" "$@" && test -s "$work/out" || return 1
    [ ! -s "${OCLGRIND_LOG:-/dev/null}" ] || { cat "$OCLGRIND_LOG"; return 1; }
}
# shellcheck disable=SC2016,SC2317
says_how() { grep -q '^ \*   cc [a-z_]*\.c $(pkg-config --cflags --libs qkv)' "$1"; }

for source in tools/examples/*.c; do
    example=$(basename "$source")
    check "$example says how to compile it" says_how "$source"
    check "$example compiles without a warning" compile "$source"
    case ${OCLGRIND_LOG:+simulated}$example in
    simulated*threads*) skip "running $example: Oclgrind stops where two threads enqueue" ;;
    *) check "$example runs, and has something to say" runs "$work/program" ;;
    esac
done

# The first python3 in PATH need not be the one that the system's packages belong to.
python=
for candidate in "${PYTHON:-python3}" /usr/bin/python3; do
    [ -n "$python" ] || ! "$candidate" -c 'import numpy, pyopencl' >"$work/out" 2>&1 || python=$candidate
done
if [ -n "${SANITIZE:-}" ]; then
    skip "pyopencl_context.py: python is not built with $SANITIZE"
elif [ -z "$python" ]; then
    skip "pyopencl_context.py: python3 has no pyopencl or no NumPy (Debian: python3-pyopencl)"
else
    for source in tools/examples/*.py; do
        check "$(basename "$source") runs" runs "$python" "$source" "$build/$library"
    done
fi

echo "$((checks ? (checks - failures) * 100 / checks : 0))%: Checks: $checks, Failures: $failures, Errors: 0"
[ "$failures" = 0 ]
