#!/bin/sh
# qkv-devices: what it takes and refuses, and what a terminal sees.
# Environment: BUILD.
set -u
suite=devices_options
# shellcheck source=tests/support/devices.sh
. tests/support/devices.sh
# A character is a byte then, for every awk.
export LC_ALL=C

# ---- on a terminal ----
# shellcheck disable=SC2317
on_terminal() { # VARIABLE=VALUE ARGUMENT...: what a terminal shows
    python3 - "$@" >"$work/out" 2>"$work/err" <<'END'
import os, pty, sys
name, value = sys.argv[1].split("=")
os.environ["TERM"] = "xterm"
os.environ[name] = value
pty.spawn(sys.argv[2:])
END
}
escape=$(printf '\033\\[3')
on_terminal A=b "$tool" --summary
expect "colours on a terminal" has "$escape" out
expect "progress on a terminal" has 'trying [0-9]*:[0-9]* (1 of ' out
on_terminal NO_COLOR=1 "$tool" --summary --no-probe
expect "no colours with NO_COLOR" lacks "$escape" out
on_terminal TERM=dumb "$tool" --summary --no-probe
expect "nor on a terminal that is dumb" lacks "$escape" out
expect "the devices are there all the same" has 'use: ' out
on_terminal TERM=dumb "$tool" --summary
expect "progress on a dumb terminal wipes by blanks" lacks "$(printf '\033')" out
expect "and is there" has 'trying [0-9]*:[0-9]* (1 of ' out

# ---- options ----
run --help
expect "--help: status 0" gives 0
expect "--help on standard output" has '^Usage: qkv-devices' out
expect "--help: no line is wider than 80 columns" narrow 80
# shellcheck disable=SC2317
in_manual() {
    tr -d '\\' <tools/man/qkv-devices.1 >"$work/manual"
    for option in $(grep -o -e '--[a-z-]*' "$work/out" | sort -u); do
        grep -q -e "$option" "$work/manual" || { echo "$option" >>"$work/err"; return 1; }
    done
}
expect "the manual has every option of --help" in_manual
run --version
expect "--version" has '^qkv-devices [0-9]*\.[0-9]*\.[0-9]*$' out
# What cannot be written was not said.
if [ -w /dev/full ]; then
    for arguments in --help --version '--prop help' '--best decode' -l --raw '--prop name' '--json -'; do
        status=0
        # shellcheck disable=SC2086
        "$tool" $arguments >/dev/full 2>"$work/err" || status=$?
        expect "$arguments, and nowhere to write it to: status 1, and why" [ "$status$(grep -c 'qkv-devices: ' "$work/err")" = 11 ]
    done
else
    skip "output that cannot be written: no /dev/full here"
fi
run --no-such-option
expect "a wrong option: status 2, in the tool's words" [ "$status$(head -n 1 "$work/err")" = \
    '2qkv-devices: --no-such-option is no option, or takes no value' ]
run --best
expect "an option without its value as well" [ "$status$(head -n 1 "$work/err")" = '2qkv-devices: --best needs a value' ]
for arguments in '--best decode --measure' '--best decode --json' '--measure --summary' '-p name --json' '-p name -p kind' \
    '-l --measure' '--no-probe --measure-memory' '-a -l' '--raw --json' '-d 0:0 -a' '-d 0:0 --best decode' '-d a -d b' \
    '-l --measure-memory' '--self-test -p name'; do
    # shellcheck disable=SC2086
    run $arguments
    expect "$arguments: status 2, and which two" [ "$status$(grep -c 'qkv-devices: .*--.*together\|twice' "$work/err")" = 21 ]
done
run surplus
expect "a surplus argument: status 2" gives 2
for seconds in 0 -1 nan 1x ''; do
    run --timeout "$seconds"
    expect "--timeout '$seconds': status 2" gives 2
done
run --child list 3>&-
expect "a child's part is not for users: status 2" gives 2

finish
