# What the suites of command-line tools share; sourced with $suite, $tool and $work set. Ends like Check's own suites.
checks=0 failures=0

pass() { checks=$((checks + 1)); echo "$suite:P: $1"; }
fail() {
    checks=$((checks + 1)) failures=$((failures + 1))
    echo "$suite:F: $1"
    cut -c 1-200 "$work/out" "$work/err" | head -n 30 | sed 's/^/    fail: /'
}
skip() { echo "skip: $1"; }
expect() { # NAME CONDITION...
    name=$1
    shift
    if "$@"; then pass "$name"; else fail "$name"; fi
}

# Runs the tool: $status, $work/out, $work/err.
run() {
    status=0
    "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}
gives() { [ "$status" = "$1" ]; }
has() { grep -q -- "$1" "$work/$2"; }
lacks() { ! grep -q -- "$1" "$work/$2"; }
# Lines were broken to fit the screen: so in one line, with single blanks.
says() { tr -s ' \n' ' ' <"$work/$2" | grep -q -- "$1"; }
empty() { [ ! -s "$work/$1" ]; }
# A condition on the JSON document d.
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$1" "$2"; }
# Characters: awk may count bytes.
narrow() {
    python3 -c 'import sys; sys.exit(any(len(x.rstrip("\n")) > int(sys.argv[1]) for x in open(sys.argv[2], encoding="utf-8")))' \
        "$1" "$work/out"
}

finish() {
    echo "$(((checks - failures) * 100 / checks))%: Checks: $checks, Failures: $failures, Errors: 0"
    [ "$failures" = 0 ]
    exit
}
