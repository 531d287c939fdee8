# What the shell suites share; sourced with $suite and $work set. Ends like Check's own suites.
checks=0 failures=0

check() { # NAME COMMAND...
    name=$1
    shift
    checks=$((checks + 1))
    if "$@" >"$work/out" 2>&1; then
        echo "$suite:P: $name"
    else
        failures=$((failures + 1))
        echo "$suite:F: $name"
        tail -n 20 "$work/out" | cut -c 1-300 | sed 's/^/    fail: /'
    fi
}
skip() { echo "skip: $1"; }
