#!/bin/sh
# tools/run-checks on machines made up here: with and without PoCL, with an implementation that nobody has seen, fast or
# slow. Neither the suites nor the devices are real. Environment: BUILD.
set -u
build=$(cd "${BUILD:-build}" && pwd)
suite=run_checks
work=$build/run-checks-test
# shellcheck disable=SC2034 # for expect.sh
tool=tools/run-checks
rm -rf "$work"
mkdir -p "$work/build/tests" "$work/none" "$work/pocl" "$work/other" "$work/both" "$work/empty"
# shellcheck source=tests/support/expect.sh
. tests/support/expect.sh

echo libpocl.so >"$work/pocl/pocl.icd"
echo libsome.so >"$work/other/some.icd"
cp "$work/pocl/pocl.icd" "$work/other/some.icd" "$work/both"
echo libRusticlOpenCL.so >"$work/both/rusticl.icd"
cp "$work/both/rusticl.icd" "$work/none"

# What test_scale says of the device: $speed is the scale of libsome.so; $loader what is there without any .icd file.
cat >"$work/build/tests/test_scale" <<'END'
#!/bin/sh
case $(cat "${OCL_ICD_VENDORS:-/nowhere}"/*.icd 2>/dev/null) in
*some*) echo "device: Some GPU; Some; driver 1; OpenCL 1.2; test scale ${QKV_TEST_SCALE:-$speed}" ;;
'') [ -z "${loader:-}" ] || echo "device: Odd; $loader; driver 1; OpenCL 1.2; test scale ${QKV_TEST_SCALE:-$speed}" ;;
esac
END
chmod +x "$work/build/tests/test_scale"

made_up() { # NAME: a suite that tells where and at what size it ran
    cat >"$work/test_$1" <<END
#!/bin/sh
echo "$1 \$(basename "\${OCL_ICD_VENDORS:-loader}") \${QKV_TEST_SCALE:-unset}" >>"$work/runs"
echo "100%: Checks: 1, Failures: 0, Errors: 0"
END
    chmod +x "$work/test_$1"
}
# One that runs everywhere, one that runs once, and of each kind that simulators do not get.
for name in sound core attend masks lies; do made_up $name; done

checks_on() { # FOLDER-OF-THE-SYSTEM OCL_ICD_VENDORS VARIABLE=VALUE...: the machine
    system=$1 given=$2
    shift 2
    : >"$work/runs"
    status=0
    env -u CI -u DEVICE -u PROFILES -u SANITIZE -u JOBS -u OTHER_SCALE -u RUSTICL_SCALE -u QKV_TEST_SCALE -u loader \
        speed=1 "$@" BUILD="$work/build" SYSTEM_VENDORS="$work/$system" OCL_ICD_VENDORS="$given" "$tool" "$work/test_sound" \
        "$work/test_core" "$work/test_attend" "$work/test_masks" "$work/test_lies" \
        >"$work/out" 2>"$work/err" </dev/null || status=$?
}
ran() { # IMPLEMENTATION [SCALE]: the names, in order, of what ran there
    awk -v i="icd-$1" -v l="$1" -v s="${2:-}" '($2 == i || $2 == l) && (s == "" || $3 == s) {print $1}' "$work/runs" |
        sort | tr '\n' ' '
}

checks_on pocl ''
expect "PoCL is there: status 0" gives 0
expect "all of it runs there in full" [ "$(ran pocl 1)" = 'attend core lies masks sound ' ]
checks_on both ''
expect "with PoCL, one that nobody has seen is left alone" [ -z "$(ran some)" ]
expect "rusticl runs, at its size, without what runs once or first" [ "$(ran rusticl 0.2)" = 'attend masks sound ' ]
checks_on pocl '' QKV_TEST_SCALE=0.7
expect "PoCL at the size given" [ "$(ran pocl 0.7)" = 'attend core lies masks sound ' ]

checks_on other ''
expect "one that nobody has seen, without PoCL: status 0" gives 0
expect "it runs all, at the size that is measured" [ "$(ran some 1)" = 'attend core lies masks sound ' ]
expect "PoCL's absence is a skip with its reason" has '^pocl  *all (not installed: .*) *- *- *1 *-$' out
expect "and no failure" has '^[0-9]* passed, 0 failed, [0-9]* skipped$' out

checks_on other '' speed=0.05
expect "a slow one runs at its size, without what simulators do not get" [ "$(ran some 0.05)" = 'core lies sound ' ]
expect "nothing else ran on it" [ "$(ran some)" = 'core lies sound ' ]
expect "what takes too long is a skip" has '^some  *attend (too slow) *- *- *1 *-$' out
expect "what check-all does too" has '^some  *masks (in check-all) *- *- *1 *-$' out
checks_on other '' speed=0.05 OTHER_SCALE=0.3
expect "OTHER_SCALE beats the measurement" [ "$(ran some 0.3)" = 'attend core lies masks sound ' ]
checks_on other '' QKV_TEST_SCALE=0.6
expect "so does QKV_TEST_SCALE" [ "$(ran some 0.6)" = 'attend core lies masks sound ' ]

checks_on pocl "$work/other"
expect "the caller's OCL_ICD_VENDORS first" [ "$(head -n 1 "$work/runs" | cut -d ' ' -f 2)" = icd-some ]
expect "it runs all" [ "$(ran some 1)" = 'attend core lies masks sound ' ]
expect "PoCL runs as well, but for what runs once" [ "$(ran pocl 1)" = 'attend lies masks sound ' ]
checks_on pocl "$work/other/some.icd"
expect "a file instead of a folder" [ "$(ran some 1)" = 'attend core lies masks sound ' ]
checks_on empty "$work/pocl"
expect "PoCL where the caller says it is: in full" [ "$(ran pocl 1)" = 'attend core lies masks sound ' ]

checks_on empty '' loader=Odd
expect "a loader without .icd files: status 0" gives 0
expect "its device runs all" [ "$(ran loader 1)" = 'attend core lies masks sound ' ]
checks_on empty '' DEVICE=0:0 loader=Odd speed=0.05
expect "DEVICE: at the size that is measured" [ "$(ran loader 0.05)" = 'core lies sound ' ]

checks_on empty ''
expect "nothing at all: status 1" gives 1
expect "it says what is missing" has '^pocl  *not installed' out
checks_on none ''
expect "rusticl alone is no stand-in for PoCL: status 1" gives 1
expect "it runs all the same" [ "$(ran rusticl 0.2)" = 'attend masks sound ' ]

finish
