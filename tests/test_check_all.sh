#!/bin/sh
# tools/check-all with suites made up here: what it runs, what it runs again, what it writes. Environment: BUILD.
set -u
build=$(cd "${BUILD:-build}" && pwd)
suite=check_all
work=$build/check-all-test
# shellcheck disable=SC2034 # for expect.sh
tool=tools/check-all
[ -x "$build/qkv-devices" ] || {
    echo "skip: qkv-devices was not built"
    exit 0
}
rm -rf "$work"
mkdir -p "$work/build" "$work/icd"
for file in qkv-devices libqkv.a; do ln -s "$build/$file" "$work/build/$file"; done
# shellcheck source=tests/support/expect.sh
. tests/support/expect.sh

icd=$(grep -ls pocl "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd | head -n 1)
[ -n "$icd" ] || {
    echo "skip: no PoCL here"
    exit 0
}
cp "$icd" "$work/icd/"
export OCL_ICD_VENDORS="$work/icd"

made_up() { # NAME FAILURES
    cat >"$work/test_$1" <<END
#!/bin/sh
echo $1 >>"$work/runs"
echo "device: Some device; Some; driver Some 1.0; OpenCL 3.0"
echo "skip: nothing to do for 7 of 9"
echo "50%: Checks: 3, Failures: $2, Errors: 0"
exit $2
END
    chmod +x "$work/test_$1"
}
made_up sound 0
made_up broken 1
printf 'before\n<!-- matrix -->\nold\n<!-- /matrix -->\nafter\n' >"$work/README.md"
matrix() { # SUITE...
    : >"$work/runs"
    status=0
    BUILD="$work/build" JOBS=1 ONLY='' CONFIGURATIONS='default plain' README="$work/README.md" "$tool" "$@" \
        >"$work/out" 2>"$work/err" </dev/null || status=$?
}

matrix "$work/test_sound" "$work/test_broken"
expect "a suite that fails: status 1" gives 1
expect "each suite ran in each configuration" [ "$(sort "$work/runs" | uniq -c | tr -s ' \n' ' ')" = ' 2 broken 2 sound ' ]
cp "$work/README.md" "$work/shown"
expect "a row has what passed, failed, was skipped, and seconds" \
    has '^| plain | 5 passed, [*][*]1 failed[*][*], 2 skipped; [0-9]* s |$' shown
expect "the implementation has its version, its name but once" has 'Some 1.0, Some device' shown
expect "the reason of a skip stands there" has '| 4 | nothing to do for 7 of N |' shown
expect "what was between the markers is gone" lacks '^old$' shown
expect "what stands around them is not" [ "$(sed -n '1p;$p' "$work/shown" | tr '\n' ' ')" = 'before after ' ]

matrix "$work/test_sound" "$work/test_broken"
expect "what passed is not run again, what failed is" [ "$(sort -u "$work/runs")" = broken ]
made_up broken 0
matrix "$work/test_sound" "$work/test_broken"
expect "mended: status 0" gives 0
expect "nothing of the failure is left" lacks 'failed[*]' out
matrix "$work/test_sound" "$work/test_broken"
expect "a whole matrix is only written anew" empty runs

finish
