#!/bin/sh
# qkv-devices: its exit statuses, its forms of output, and a machine without any device.
# Environment: BUILD.
set -u
build=${BUILD:-build}
tool=$build/qkv-devices
work=$build/devices-tool
checks=0 failures=0
mkdir -p "$work/none"
unset QKV_DEVICE

pass() { checks=$((checks + 1)); echo "devices_tool:P: $1"; }
fail() {
    checks=$((checks + 1)) failures=$((failures + 1))
    echo "devices_tool:F: $1"
    sed 's/^/    fail: /' "$work/out" "$work/err"
}
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
empty() { [ ! -s "$work/$1" ]; }
# A condition on the JSON document d.
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$1" "$2"; }
narrow() { awk -v w="$1" 'length($0) > w {wide = 1} END {exit wide}' "$work/out"; }

run
expect "a machine with a device: status 0" gives 0
expect "the table has its headings" has '^   SELECTOR  DEVICE ' out
expect "one device is marked" [ "$(grep -c '^-> [0-9]*:[0-9]* .*[KMGT]iB' "$work/out")" = 1 ]
expect "its reason stands below" has '^-> [0-9]*:[0-9]*  .*(.*):' out
expect "no line is wider than 100 columns" narrow 100
expect "nothing on standard error" empty err

run --json
cp "$work/out" "$work/all.json"
expect "--json: status 0" gives 0
expect "--json: schema 1" json "$work/all.json" 'd["schema"] == 1'
expect "--json: auto is one of the devices" json "$work/all.json" \
    '[x["selector"] for x in d["devices"] if x["auto"]] == [d["auto"]]'
expect "--json: platforms count their devices" json "$work/all.json" \
    'sum(p["num_devices"] for p in d["platforms"]) == len(d["devices"])'
expect "--json: numbers are numbers" json "$work/all.json" \
    'all(x["global_memory"] >= x["max_allocation"] > 0 and x["compute_units"] > 0 for x in d["devices"])'
expect "--json: every device has a reason" json "$work/all.json" 'all(x["reason"] for x in d["devices"])'
run --json "$work/file.json"
expect "--json FILE writes the same" cmp "$work/file.json" "$work/all.json"
expect "--json FILE prints nothing" empty out
run --json "$work/missing/file.json"
expect "--json into a folder that does not exist: status 1" gives 1
expect "and says so" has 'cannot write' err

run -d auto
expect "-d auto: status 0" gives 0
expect "-d auto says what it is" has '^"auto" is [0-9]*:[0-9]*' out
expect "-d shows the property that no column has" has '^driver ' out
run -d auto --json -
expect "-d with --json: that device only" json "$work/out" \
    'len(d["devices"]) == 1 and d["devices"][0]["selector"] == d["auto"]'
run -d 'no such device'
expect "-d with a text that fits none: status 1" gives 1
expect "and lists what there is" has '[0-9]:[0-9]' err
run -d 99:0
expect "-d with an index that is too large: status 1" gives 1

run --help
expect "--help: status 0" gives 0
expect "--help on standard output" has '^Usage: qkv-devices' out
run --version
expect "--version" has '^qkv-devices [0-9]*\.[0-9]*\.[0-9]*$' out
run --no-such-option
expect "a wrong option: status 2" gives 2
run surplus
expect "a surplus argument: status 2" gives 2

QKV_DEVICE=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["auto"])' "$work/all.json")
export QKV_DEVICE
run
expect "QKV_DEVICE is reported" has 'QKV_DEVICE' out
unset QKV_DEVICE

OCL_ICD_VENDORS=$(cd "$work/none" && pwd)
export OCL_ICD_VENDORS
run
expect "a machine without platforms: status 1" gives 1
expect "it says what to install" has 'pocl-opencl-icd' out
run --json
expect "without platforms --json: status 1" gives 1
expect "without platforms --json is whole, auto null" json "$work/out" \
    'd["schema"] == 1 and d["platforms"] == d["devices"] == [] and d["auto"] is None'
run -d auto
expect "without platforms -d auto: status 1" gives 1

echo "$(((checks - failures) * 100 / checks))%: Checks: $checks, Failures: $failures, Errors: 0"
[ "$failures" = 0 ]
