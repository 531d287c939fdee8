#!/bin/sh
# qkv-attend: exit statuses, what goes where, files that appear whole or not at all.
# Environment: BUILD, QKV_TEST_MODEL (a model's folder; without one only what needs none is tested).
set -u
build=${BUILD:-build}
model=${QKV_TEST_MODEL:-build/model}
tool=$build/qkv-attend
work=${QKV_TEST_WORK:-$build/attend-tool}
checks=0 failures=0 skips=0
[ -x "$tool" ] || {
    echo "skip: $tool was not built"
    echo "skips: 1"
    exit 0
}
rm -rf "$work"
mkdir -p "$work"

pass() { checks=$((checks + 1)); echo "attend_tool:P: $1"; }
fail() {
    checks=$((checks + 1)) failures=$((failures + 1))
    echo "attend_tool:F: $1"
    cut -c 1-200 "$work/out" "$work/err" | sed 's/^/    fail: /'
}
expect() { # NAME CONDITION...
    name=$1
    shift
    if "$@"; then pass "$name"; else fail "$name"; fi
}
run() {
    status=0
    "$tool" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}
gives() { [ "$status" = "$1" ]; }
has() { grep -q -- "$1" "$work/$2"; }
empty() { [ ! -s "$work/$1" ]; }
lines() { [ "$(wc -l <"$work/$1")" -eq "$2" ]; }
# A usage error: status 2, one line and a hint, nothing on standard output.
misused() { # NAME PATTERN ARGUMENT...
    name=$1 pattern=$2
    shift 2
    run "$@"
    if gives 2 && has "$pattern" err && lines err 2 && empty out; then pass "$name"; else fail "$name"; fi
}
# Bad input: status 1, one line.
refused() { # NAME PATTERN ARGUMENT...
    name=$1 pattern=$2
    shift 2
    run "$@"
    if gives 1 && has "$pattern" err && lines err 1 && empty out; then pass "$name"; else fail "$name"; fi
}

run --help
expect "--help: status 0" gives 0
expect "--help: on standard output" has '^Usage: qkv-attend' out
run --version
expect "--version" has '^qkv-attend [0-9]*\.[0-9]*\.[0-9]* (libqkv ' out
misused "no model" '--model is missing' text
misused "no text" 'no text' --model "$work"
misused "two texts" 'quotes' --model "$work" a b
misused "unknown option" 'not an option' --model "$work" --nothing a
misused "missing value" 'needs a value' --model
misused "layer not a number" '--layer last' --model "$work" --layer last a
misused "negative head" '--head -1' --model "$work" --head -1 a
misused "explain without a comma" '--explain 3' --model "$work" --explain 3 a
misused "number too large" '--layer 99999999999' --model "$work" --layer 99999999999 a
misused "text and file" 'exclude' --model "$work" --text-file x a
refused "no such folder" 'config.json' --model "$work/none" a

run --worked-example
expect "--worked-example: status 0" gives 0
expect "--worked-example: exact projections" has 'Q, K, V exact' out
refused "no such device" 'no-such-device' --worked-example -d no-such-device

slow=$(echo "${QKV_TEST_SCALE:-1}" | awk '{print $1 < 0.5}')
if [ "$slow" = 1 ]; then
    echo "skip: whole models take minutes on this device, and the tool is the same on each"
    skips=1
elif [ ! -f "$model/model.safetensors" ]; then
    echo "skip: the model is not in $model"
    skips=1
else
    python=$(command -v python3 || true)
    # A condition on the JSON objects d[0], d[1] ... of a file of lines.
    json() { "$python" -c 'import json, sys
d = [json.loads(l) for l in open(sys.argv[1], encoding="utf-8")]
sys.exit(not eval("(" + sys.argv[2] + ")"))' \
        "$1" "$2"; }
    run --model "$model" --picture "$work/a.png" --export "$work/npy" --json "$work/a.json" "Dogs chase cats"
    expect "everything at once: status 0" gives 0
    expect "the table" has '^   1  dogs' out
    expect "nothing on standard error" empty err
    expect "a PNG" [ "$(head -c 4 "$work/a.png" | tail -c 3)" = PNG ]
    expect "nine arrays" [ "$(find "$work/npy" -name '*.npy' | wc -l)" -eq 9 ]
    expect "no temporary files" [ -z "$(find "$work" -name '*.??????' ! -name '*.npy' ! -name '*.json' ! -name '*.png')" ]
    run --model "$model" --json - --explain 2,1 --head all "Dogs chase cats"
    cp "$work/out" "$work/b.json"
    expect "--json -: one line" lines out 1
    printf 'one\n\nthree \377 bytes\r\n' >"$work/texts"
    run --model "$model" --json - --text-file "$work/texts"
    cp "$work/out" "$work/c.json"
    expect "--text-file: an object a line" lines out 3
    expect "no progress bar away from a terminal" empty err
    if [ -n "$python" ]; then
        expect "JSON members" json "$work/a.json" 'd[0]["schema"] == 1 and d[0]["layers"] == 6 and d[0]["heads"] == 12
            and len(d[0]["embedding"]) == 384 and d[0]["attention"]["head"] is None and d[0]["attention"]["layer"] == 5
            and d[0]["tokens"] == ["[CLS]", "dogs", "chase", "cats", "[SEP]"]'
        expect "explanation and heads in the JSON" json "$work/b.json" 'len(d[0]["attention"]["heads_weights"]) == 12
            and d[0]["explanation"]["query"] == 2 and len(d[0]["explanation"]["q_products"]) == 384'
        expect "one line is one text" json "$work/c.json" 'd[1]["tokens"] == ["[CLS]", "[SEP]"] and
            d[2]["text"] == "three \ufffd bytes"'
    fi
    run --model "$model" --explain 2,1 "Dogs chase cats"
    expect "--explain in the textbook's words" has 'S = Q K^T / sqrt(d_k)' out
    run --model "$model" "$(yes word | head -n 400)"
    expect "truncation warns" has 'warning: .*cut to 256 tokens' err
    misused "no such layer" 'layers 0 to 5' --model "$model" --layer 6 a
    misused "no such head" 'heads 0 to 11' --model "$model" --head 12 a
    misused "no such token" 'tokens 0 to 2' --model "$model" --explain 0,3 a
    misused "a picture of several texts" 'one text' --model "$model" --picture "$work/x.png" --text-file "$work/texts"
    refused "JSON into no folder" 'none/x.json' --model "$model" --json "$work/none/x.json" a
    head -c 1000 "$model/model.safetensors" >"$work/model.safetensors"
    cp "$model/config.json" "$model/vocab.txt" "$work"
    refused "truncated weights" 'model.safetensors: claims a header' --model "$work" a
    : >"$work/empty"
    refused "no text in the file" 'no text' --model "$model" --text-file "$work/empty"
fi

echo "skips: $skips"
echo "$(((checks - failures) * 100 / checks))%: Checks: $checks, Failures: $failures, Errors: 0"
[ "$failures" = 0 ]
