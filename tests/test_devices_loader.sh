#!/bin/sh
# qkv-devices where the OpenCL loader, its .icd files and the variables that it reads are not in order, one driver keeps
# the others from being listed, or the system lets the tool do less than it needs. Environment: BUILD.
set -u
suite=devices_loader
# shellcheck source=tests/support/devices.sh
. tests/support/devices.sh
no_drivers_on_macos
mkdir "$work/tmp"
work=$(cd "$work" && pwd)
fake=$standins/fake_driver.so
export TMPDIR="$work/tmp"
unset RUSTICL_ENABLE OCL_ICD_FILENAMES OCL_ICD_VENDORS OPENCL_VENDOR_PATH

folder() { # NAME: a new folder for .icd files, which the loader takes
    OCL_ICD_VENDORS=$work/$1
    export OCL_ICD_VENDORS
    mkdir -p "$OCL_ICD_VENDORS"
}
# What root may not do is hard to say: so as a user of no group.
ordinary=
may_be_ordinary=true
[ "$(id -u)" != 0 ] || ordinary="setpriv --reuid=65534 --regid=65534 --clear-groups"
$ordinary "$tool" --version >/dev/null 2>&1 || may_be_ordinary=false
# shellcheck disable=SC2317
nothing_in() { [ -z "$(ls -A "$1")" ]; }

# ---- one driver kills the listing: the others' files are judged as they are ----
folder mix
echo "$fake" >"$OCL_ICD_VENDORS/crash.icd"
echo libno-such-driver.so.1 >"$OCL_ICD_VENDORS/a.icd"
echo garbage >"$OCL_ICD_VENDORS/g.icd"
echo libm.so.6 >"$OCL_ICD_VENDORS/m.icd"
: >"$OCL_ICD_VENDORS/e.icd"
mkdir "$OCL_ICD_VENDORS/d.icd"
for crash in clGetDeviceIDs clIcdGetPlatformIDsKHR; do
    with FAKE_DRIVER_CRASH=$crash -- --json --no-probe
    expect "$crash: each file is judged, by its own name" json "$work/out" \
        "sorted(p['problem'].split('$work/mix/')[1].split('.icd')[0] for p in d['problems']) == ['a', 'crash', 'd', 'e', 'g', 'm']"
    expect "$crash: the tool's own folder is nobody's business" lacks 'qkv-devices-' out
done
with FAKE_DRIVER_CRASH=clGetDeviceIDs --
expect "a directory is called one" says "mix/d.icd is a directory: " out
expect "a library of another kind is not installed anew" says "m.icd, or let it name an OpenCL driver" out
folder crash
echo "$fake" >"$OCL_ICD_VENDORS/crash.icd"
for variable in OCL_ICD_VENDORS OPENCL_VENDOR_PATH; do
    with -u OCL_ICD_VENDORS $variable="$work/crash" FAKE_DRIVER_CRASH=clGetDeviceIDs -- -l
    expect "$variable: the only driver crashes" says "($work/crash/crash.icd) crashed (SIGABRT)" err
    expect "$variable: then its folder is not called empty" lacks 'There is no .icd file' err
done
with OCL_ICD_VENDORS="$fake" FAKE_DRIVER_CRASH=clGetDeviceIDs -- -l
expect "a crashing driver that the variable names" says "$fake (OCL_ICD_VENDORS) crashed" err
expect "what to do then" says 'To do: reinstall that driver, or unset OCL_ICD_VENDORS' err
with FAKE_DRIVER_HANG=clGetDeviceIDs TMPDIR="$work/not-there" -- -l --timeout 1
expect "no folder to part them in: said" \
    says "did not answer within 1 s. Which driver is to blame cannot be found out: no folder can be made in $work/not-there" err
expect "and what to do" says 'To do: let TMPDIR name a folder that this user may write' err
expect "nobody else is accused" [ "$(grep -c 'To do' "$work/err")" = 1 ]

# ---- .icd files that only look right ----
folder lines
written() { # FORM NAME: a file written like that is found wanting
    # shellcheck disable=SC2059
    printf "$1" "$fake" >"$OCL_ICD_VENDORS/o.icd"
    run -l
    expect "a name with $2: said" says "o.icd names the driver $fake.* $2" err
    expect "a name with $2: how to write it" says "write the name alone: echo $fake | sudo tee $work/lines/o.icd" err
}
written '%s  \n' 'blanks after it'
written '%s\r\n' 'a carriage return after it'
written '  %s\n' 'blanks before it'
written '\n%s\n' 'not in its first line'
written '\357\273\277%s\n' 'a byte order mark before it'
printf 'lib\033[31mred\n' >"$OCL_ICD_VENDORS/o.icd"
run -l
expect "what is in a file cannot steer the terminal" says 'o.icd names the driver lib?.31mred, which cannot be loaded' err
printf '%s' "$fake" >"$OCL_ICD_VENDORS/o.icd"
run -l
expect "no end of line is no fault" has 'Fake GPU' out
expect "and no problem" empty err
printf '%s \n' libno-such-driver.so.1 >"$OCL_ICD_VENDORS/o.icd"
run -l
expect "a blank after what is not there: both are said" [ "$(grep -c 'To do' "$work/err")" = 2 ]
rm "$OCL_ICD_VENDORS/o.icd"
ln -s "$work/not-there" "$OCL_ICD_VENDORS/o.icd"
run -l
expect "a link to nothing" says 'o.icd cannot be read: it is a link to nothing' err
folder silent
echo "$fake" >"$OCL_ICD_VENDORS/o.icd"
with FAKE_DRIVER_ICD=0 -- -l
if [ -s "$work/err" ]; then
    expect "a driver that the loader does not take, for its own reasons" \
        says "loader took none of these drivers, although each of them loads by itself: $fake" err
else
    skip "a driver that the loader does not take: this one takes it"
fi
folder two
echo "$fake" >"$OCL_ICD_VENDORS/o.icd"
echo libno-such-driver.so.1 >"$OCL_ICD_VENDORS/a.icd"
with FAKE_DRIVER_PLATFORMS=2 -- --no-probe
expect "two platforms of one driver" has '2 OpenCL platforms' out
expect "do not hide that another one is missing" says 'a.icd names the driver libno-such-driver.so.1, which cannot be loaded' out

# ---- variables ----
mkdir "$work/empty"
with OCL_ICD_VENDORS="$work/crash:$work/two" -- -l
expect "a list of folders: only one is taken" says "OCL_ICD_VENDORS is $work/crash:$work/two, but .* one folder, not a list" err
with OCL_ICD_VENDORS="$work/not-there" -- -l
expect "a folder that is not there" says "OCL_ICD_VENDORS names $work/not-there, which is not there" err
with OCL_ICD_VENDORS="$work/not-there.icd" -- -l
expect "a file that is not there" says "not-there.icd cannot be read: there is no such file To do: unset OCL_ICD_VENDORS" err
with -u OCL_ICD_VENDORS OPENCL_VENDOR_PATH="$work/empty" -- -l
expect "OPENCL_VENDOR_PATH is named where it leads to nothing" \
    says "There is no .icd file in $work/empty, which OPENCL_VENDOR_PATH names, .* To do: unset OPENCL_VENDOR_PATH" err
with OPENCL_VENDOR_PATH="$work/crash" OCL_ICD_VENDORS=crash.icd -- -l
expect "a file's name alone is looked for in the usual folder" has 'Fake GPU' out
with OCL_ICD_FILENAMES="$fake" OCL_ICD_VENDORS="$work/empty" -- -l
if [ "$status" = 0 ]; then
    skip "OCL_ICD_FILENAMES: this loader reads it"
else
    expect "a variable that the loader does not read" \
        says "OCL_ICD_FILENAMES names the driver $fake, but this OpenCL loader, ocl-icd, does not read that variable" err
    expect "and what it reads" says "There is no .icd file in $work/empty, which OCL_ICD_VENDORS names" err
fi

# ---- permission ----
folder unreadable
cp "$fake" "$work/secret.so"
echo "$work/secret.so" >"$OCL_ICD_VENDORS/library.icd"
echo "$fake" >"$OCL_ICD_VENDORS/file.icd"
mkdir "$work/closed" "$work/home"
chmod 000 "$work/secret.so" "$OCL_ICD_VENDORS/file.icd" "$work/closed"
chmod 555 "$work/home"
mkdir -p "$work/machine/dev/dri"
: >"$work/machine/dev/dri/renderD128"
: >"$work/machine/dev/nvidia0"
chmod 600 "$work/machine/dev/dri/renderD128" "$work/machine/dev/nvidia0"
[ -n "$ordinary" ] || chmod 000 "$work/machine/dev/dri/renderD128" "$work/machine/dev/nvidia0"
pocl=$(cat /etc/OpenCL/vendors/*pocl*.icd 2>/dev/null | head -n 1)
if [ $may_be_ordinary = true ]; then
    user=$ordinary
    with A=b -- -l
    expect "a file that may not be read" \
        says "file.icd cannot be read: Permission denied To do: let every user read it: sudo chmod a+r $work/unreadable/file.icd" err
    expect "a library that may not be read is not installed anew" \
        says "Permission denied To do: let every user read it: sudo chmod a+r $work/secret.so" err
    with OCL_ICD_VENDORS="$work/closed" -- -l
    expect "a folder that may not be read" says "folder $work/closed, .* cannot be read, .*: Permission denied To do: .*a+rx" err
    with OCL_ICD_VENDORS="$work/two" -- -d cpu --root "$work/machine"
    expect "no device of that kind: the hardware's problems are shown" says 'This user may not open .*/renderD128' err
    expect "a device file that only root may open: a rule that lasts" \
        says 'KERNEL=="renderD128", GROUP="\(render\|video\)", MODE="0660" to /etc/udev/rules.d' err
    expect "NVIDIA's are made by its driver" says 'NVreg_DeviceFileMode=0666' err
    expect "root's group is nobody's" lacks '-aG root' err
    with OCL_ICD_VENDORS="$work/two" -- -d 7:7 --root "$work/machine"
    expect "an index that is not there says nothing of hardware" lacks 'renderD128' err
    if [ -n "$pocl" ]; then
        folder pocl
        echo "$pocl" >"$OCL_ICD_VENDORS/pocl.icd"
        with -u XDG_CACHE_HOME -u POCL_CACHE_DIR HOME="$work/home" -- -l
        if [ "$status" = 0 ]; then
            skip "PoCL without a cache: this version does without"
        else
            expect "PoCL without a cache" says "may not write the folder for its compiled kernels, $work/home/.cache/pocl" err
            expect "PoCL without a cache: what to do" says 'To do: export POCL_CACHE_DIR=FOLDER' err
        fi
        mkdir "$work/cache"
        chmod 777 "$work/cache"
        with -u XDG_CACHE_HOME HOME="$work/home" POCL_CACHE_DIR="$work/cache" -- -l
        expect "and so it works" gives 0
    else
        skip "PoCL without a cache: no PoCL here"
    fi
    user=
else
    skip "what a user may not read: root may read all"
fi

# ---- the system ----
folder crash
# shellcheck disable=SC3045
(ulimit -n 8 && exec "$tool" -l) >"$work/out" 2>"$work/err" </dev/null
expect "no process can be started: no driver is to blame" \
    says 'cannot be listed: a process for that could not be started: Too many open files To do: raise' err
expect "and that is said once" [ "$(grep -c 'To do' "$work/err")" = 1 ]
# Started with the signals as on a terminal; interrupted while the one driver is tried alone.
interrupt() { # SIGNAL: $parted, how many drivers lay in $TMPDIR then
    rm -rf "$TMPDIR"/qkv-devices-*
    FAKE_DRIVER_HANG=clGetDeviceIDs QKV_TEST_MARK=$$-$1 python3 -c 'import os, signal, sys
for number in signal.SIGINT, signal.SIGQUIT: signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$tool" -l --timeout 2 >/dev/null 2>&1 &
    process=$!
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do
        nothing_in "$TMPDIR" || break
        sleep 0.2
    done
    parted=$(find "$TMPDIR" -name '*.icd' | wc -l)
    kill "-$1" "$process"
    wait "$process" 2>/dev/null
    sleep 0.5
}
# shellcheck disable=SC3045
ulimit -c 0
for number in TERM INT QUIT; do
    interrupt $number
    expect "SIG$number while a driver is tried alone" [ "$parted" = 1 ]
    expect "SIG$number: nothing is left on disk" nothing_in "$TMPDIR"
    expect "SIG$number: nothing is left running" none_left "QKV_TEST_MARK=$$-$number"
done
if [ "$(uname)" = Linux ]; then
    interrupt KILL
    expect "SIGKILL: nothing is left running" none_left "QKV_TEST_MARK=$$-KILL"
fi
FAKE_DRIVER_HANG=clGetDeviceIDs python3 - "$tool" -l --timeout 1 >"$work/out" 2>"$work/err" <<'END'
import pty, sys
pty.spawn(sys.argv[1:])
END
expect "on a terminal: what is waited for" has 'listing the devices' out
expect "and for which driver" has "driver 1 of 1 alone: $(echo "$fake" | cut -c 1-50)" out

finish
