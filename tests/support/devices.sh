# What the suites of qkv-devices begin with; sourced with $suite set. $tool and an empty folder $work are there then.
build=${BUILD:-build}
tool=$build/qkv-devices
work=$build/$(echo "$suite" | tr _ -)
[ -x "$tool" ] || {
    echo "skip: $tool was not built"
    exit 0
}
chmod -R u+rwx "$work" 2>/dev/null
rm -rf "$work"
mkdir -p "$work"
standins=$(cd "$build" && pwd)/tests/standins
unset QKV_DEVICE QKV_CACHE_DIR NO_COLOR
# shellcheck source=tests/support/expect.sh
. tests/support/expect.sh

no_drivers_on_macos() {
    [ "$(uname -s)" = Darwin ] || return 0
    skip "drivers by .icd files: macOS has none"
    finish
}

user= # a command before the tool's, which makes it another user's
with() { # VARIABLE=VALUE... -- ARGUMENT...: the tool with these in its environment
    settings=
    while [ "$1" != -- ]; do
        settings="$settings $1"
        shift
    done
    shift
    status=0
    # shellcheck disable=SC2086
    $user env $settings "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}
# Of the processes that were started with that in their environment none is left.
# shellcheck disable=SC2317
none_left() { ! grep -qsz "^$1$" /proc/[0-9]*/environ 2>/dev/null; }
