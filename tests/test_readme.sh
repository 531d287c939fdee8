#!/bin/sh
# The C example in README.md compiles without a warning, links with both libraries, and runs.
# Environment: BUILD, CC, SANITIZE.
set -u
build=${BUILD:-build} cc=${CC:-cc}
work=$build/readme
checks=0 failures=0

check() { # NAME COMMAND...
    name=$1
    shift
    checks=$((checks + 1))
    if "$@"; then
        echo "readme:P: $name"
    else
        failures=$((failures + 1))
        echo "readme:F: $name"
    fi
}

finish() {
    echo "$(((checks - failures) * 100 / (checks ? checks : 1)))%: Checks: $checks, Failures: $failures, Errors: 0"
    [ "$failures" = 0 ]
    exit
}

mkdir -p "$work"
awk '/^```c$/ && !seen {inside = seen = 1; next} /^```/ {inside = 0} inside' README.md >"$work/example.c"
check "README.md has a C example" test -s "$work/example.c"
[ "$failures" = 0 ] || finish

case $(uname -s) in Darwin) libs='-framework OpenCL -DCL_SILENCE_DEPRECATION' ;; *) libs='-lOpenCL' ;; esac
# Word splitting is meant for the lists of flags; check() calls it.
# shellcheck disable=SC2086,SC2317
compile() { # PROGRAM LIBRARY...
    program=$1
    shift
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror ${SANITIZE:-} -Iinclude -o "$program" "$work/example.c" "$@" $libs -lm
}
check "it compiles and links with libqkv.a" compile "$work/static" "$build/libqkv.a" -pthread
check "it compiles and links with the shared library" compile "$work/shared" -L"$build" -lqkv
check "it runs" "$work/static"
check "it runs with the shared library" env LD_LIBRARY_PATH="$build" "$work/shared"
finish
