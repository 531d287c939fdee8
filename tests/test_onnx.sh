#!/bin/sh
# onnx-attention: every case of Attention and RotaryEmbedding that the Python package onnx 1.22.0 has, as they are, and
# folders that are not in order. Environment: BUILD, QKV_TEST_ONNX (where tools/fetch-onnx put the cases).
set -u
build=${BUILD:-build} cases=${QKV_TEST_ONNX:-build/onnx}
suite=onnx
tool=$build/onnx-attention
work=$build/onnx-work
[ -x "$tool" ] || {
    echo "skip: $tool was not built"
    [ "${CI:-}" != true ] || exit 1
    exit 0
}
rm -rf "$work"
mkdir -p "$work"
# shellcheck source=tests/support/expect.sh
. tests/support/expect.sh

# Those of a run with bad folders beside good ones are told one by one in the log.
run "$cases"/test_*
cat "$work/out"
expected=$(find "$cases" -name model.onnx | wc -l | tr -d ' ')
sed -n 's/^\(passed\|FAILED\|skipped\) *\([^:]*\):.*/\1 \2/p' "$work/out" >"$work/verdicts"
while read -r verdict name; do
    if [ "$verdict" = passed ]; then pass "$name"; else fail "$name $verdict"; fi
done <"$work/verdicts"
expect "there are 72 cases" [ "$expected" = 72 ]
expect "every folder is one line" [ "$(wc -l <"$work/verdicts")" -eq "$expected" ]
expect "the last line counts them" has "^$expected passed, 0 failed, 0 skipped\$" out
expect "status 0" gives 0
expect "none is off the double evaluation" lacks 'off the double evaluation' out

# ---- folders that are not in order: one failure each, and the file that is at fault ----
small=$cases/test_rotary_embedding
broken() { # a copy to be broken
    rm -rf "$work/broken"
    cp -R "$small" "$work/broken"
    data=$work/broken/test_data_set_0
}
truncate_file() { # FILE BYTES
    head -c "$2" "$1" >"$work/part"
    mv "$work/part" "$1"
}
refuses() { # WHAT FILE: the run failed over that file
    run "$work/broken"
    expect "$1: status 1" gives 1
    expect "$1: named" has "^FAILED  broken: .*$2" out
    expect "$1: counted" has '^0 passed, 1 failed, 0 skipped$' out
}
broken
rm "$work/broken/model.onnx"
refuses "no model" 'broken/model\.onnx'
broken
truncate_file "$work/broken/model.onnx" 50
refuses "a truncated model" 'broken/model\.onnx: not an ONNX model'
broken
: >"$work/broken/model.onnx"
refuses "an empty model" 'broken/model\.onnx: not an ONNX model'
broken
cp "$data/input_0.pb" "$work/broken/model.onnx"
refuses "a tensor in the place of a model" 'broken/model\.onnx: not an ONNX model'
broken
truncate_file "$data/input_0.pb" 100
refuses "a truncated input" 'test_data_set_0/input_0\.pb: not an ONNX tensor'
broken
: >"$data/input_1.pb"
refuses "an empty input" 'test_data_set_0/input_1\.pb: not an ONNX tensor'
broken
rm "$data/input_2.pb"
refuses "a missing input" 'test_data_set_0/input_2\.pb'
broken
cp "$data/input_1.pb" "$data/output_0.pb"
refuses "an output of another shape" 'Y has another shape'
broken
cp "$data/input_0.pb" "$data/output_0.pb"
refuses "a wrong output" 'Y: [0-9]* of [0-9]* elements differ, the first one ('
broken
rm -r "$data"
refuses "no data" 'broken: it has no test_data_set_0'
broken
printf '\010\001\020\013\112\010\0\0\0\0\0\0\0\0' >"$data/input_0.pb" # dims 1, data_type DOUBLE, raw_data 0.0
run "$work/broken"
expect "double precision: no failure" gives 0
expect "double precision: skipped, with the reason" has '^skipped broken: X is DOUBLE, which is not a dtype of this library$' out
expect "double precision: counted" has '^0 passed, 0 failed, 1 skipped$' out
broken
printf '\010\001\020\006\112\004\0\0\0\0' >"$data/input_0.pb" # dims 1, data_type INT32, raw_data 0
refuses "integers" 'X is INT32, which the operator does not take'
broken
printf '\010\002\020\001\112\004\0\0\0\0' >"$data/input_0.pb" # dims 2, data_type FLOAT, raw_data 0.0f
refuses "fewer bytes than the shape has" 'test_data_set_0/input_0\.pb: raw_data has 4 bytes; the shape needs 8'
run
expect "no folder: status 2" gives 2
run "$small" -d no-such-device
expect "no such device: status 1" gives 1
expect "no such device: said" has 'no-such-device' err
finish
