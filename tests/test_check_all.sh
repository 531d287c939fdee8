#!/bin/sh
# tools/check-all with suites made up here: what it runs, what it runs again, what it writes; and on a device made up here
# as well. Environment: BUILD.
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

icd=$({
    grep -ls pocl "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd
    ls "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd 2>/dev/null
} | head -n 1)
[ -n "$icd" ] || {
    echo "skip: no folder of .icd files here"
    exit 0
}
cp "$icd" "$work/icd/"
export OCL_ICD_VENDORS="$work/icd"

made_up() { # NAME FAILURES [WHAT-IT-NOTES]
    cat >"$work/test_$1" <<END
#!/bin/sh
echo $1${3:+ $3} >>"$work/runs"
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

# ---- an implementation that nobody has seen ----
rm -rf "$work/build" "$work/icd"/*
mkdir -p "$work/build/tests"
ln -s "$build/libqkv.a" "$work/build/libqkv.a"
echo libsome.so >"$work/icd/some.icd"
printf '#!/bin/sh\necho "  \\"selector\\": \\"0:0\\""\n' >"$work/build/qkv-devices"
printf '#!/bin/sh\necho "device: Some; Some; driver 1; OpenCL 1.2; test scale %s"\n' \
    "\${QKV_TEST_SCALE:-\$speed}" >"$work/build/tests/test_scale"
chmod +x "$work/build/qkv-devices" "$work/build/tests/test_scale"
for name in sound attend; do made_up $name 0 "\$QKV_TEST_SCALE"; done
unseen() { # VARIABLE=VALUE...
    rm -rf "$work/build/check-all"
    for setting in "$@"; do export "${setting?}"; done
    matrix "$work/test_sound" "$work/test_attend"
    unset speed OTHER_SCALE
}
unset OTHER_SCALE
unseen speed=0.5
expect "at the size that is measured" [ "$(sort -u "$work/runs" | tr '\n' ' ')" = 'attend 0.5 sound 0.5 ' ]
unseen speed=0.1
expect "a slow one without what simulators do not get" [ "$(sort -u "$work/runs")" = 'sound 0.1' ]
expect "which is a skip with its reason" has '| some | 2 | attend takes a simulator too long |' out
unseen speed=0.1 OTHER_SCALE=0.3
expect "OTHER_SCALE beats the measurement" [ "$(sort -u "$work/runs" | tr '\n' ' ')" = 'attend 0.3 sound 0.3 ' ]

finish
