#!/bin/sh
# qkv-devices where things are not in order: drivers that crash, hang, lie or do not load, platforms without devices,
# machines without drivers, device files without permission. Environment: BUILD.
set -u
suite=devices_drivers
# shellcheck source=tests/support/devices.sh
. tests/support/devices.sh
work=$(cd "$work" && pwd)
no_drivers_on_macos
export TMPDIR="$work"
unset RUSTICL_ENABLE OCL_ICD_FILENAMES OPENCL_VENDOR_PATH
good=${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}
export OCL_ICD_VENDORS="$good"

drivers() { # NAME [LIBRARY]: a folder with that driver, or none
    mkdir -p "$work/icd-$1"
    [ -z "${2:-}" ] || echo "$2" >"$work/icd-$1/$1.icd"
    OCL_ICD_VENDORS=$work/icd-$1
}

# ---- a driver that loads, and then fails ----
drivers fake "$standins/fake_driver.so"
run
expect "a device that cannot be opened: status 1" gives 1
expect "it is refused" has '^-> 0:0 .* refused ' out
expect "because of the call that fails" says 'could not be run: clCreateContext: CL_OUT_OF_HOST_MEMORY (-6)' out
expect "and what would help" says 'What would help: another version of its driver' out
with FAKE_DRIVER_CRASH=clCreateContext -- --json
expect "a crash: status 1" gives 1
expect "a crash has the signal's name, and the last words" json "$work/out" \
    '"crashed (SIGABRT)" in d["devices"][0]["reason"] and "fake driver: gives up" in d["devices"][0]["reason"]'
expect "a crash is that probe's state" json "$work/out" 'd["devices"][0]["probes"]["kernels"]["state"] == "crashed"'
expect "a crash is not tried again" json "$work/out" 'd["devices"][0]["probes"]["half"]["state"] == "skipped"'
begin=$(date +%s)
with FAKE_DRIVER_HANG=clCreateContext QKV_TEST_MARK=$$ -- --timeout 1
expect "a driver that hangs is stopped" [ $(($(date +%s) - begin)) -lt 20 ]
expect "and says so" says 'the driver did not answer within 1 s' out
expect "and nothing is left of it" none_left "QKV_TEST_MARK=$$"
begin=$(date +%s)
with FAKE_DRIVER_HANG=clGetDeviceIDs -- --timeout 30 --json="$work/no-such-folder/x"
expect "a file that cannot be written is found out first" [ "$status$(($(date +%s) - begin < 10))" = 11 ]
FAKE_DRIVER_HANG=clCreateContext QKV_TEST_MARK=$$-2 "$tool" >"$work/out" 2>"$work/err" </dev/null &
interrupted=$!
sleep 2
kill -TERM "$interrupted"
wait "$interrupted" 2>/dev/null
sleep 1
expect "nor where the tool itself is stopped" none_left "QKV_TEST_MARK=$$-2"
# The listing takes a while; all of it is written, and the child gone, between a look at the pipes and one at the child.
with LD_PRELOAD="$standins/late_wait.so" FAKE_DRIVER_DELAY=200 -- --summary --no-probe
expect "a child's last words are heard, however soon it ends after them" has '^0:0  Fake GPU' out
with FAKE_DRIVER_OLD=1 -- --json --no-probe
expect "a device of OpenCL 1.1 is not asked what 1.2 brought" json "$work/out" \
    '(lambda x: x["device_version"] == "OpenCL 1.1 fake" and x["errors"] == {} and
        all(x[k] is None for k in ("linker_available", "partitions", "printf_buffer", "built_in_kernels", "double_fp")))(d["devices"][0])'
with FAKE_DRIVER_OLD=1 -- --all --no-probe
expect "so nothing failed" lacks 'query failed' out
with FAKE_DRIVER_FAIL=0x102C -- --json --no-probe
expect "a query that fails: null, and the error" json "$work/out" \
    'd["devices"][0]["vendor"] is None and d["devices"][0]["errors"] == {"vendor": "CL_OUT_OF_RESOURCES (-5)"}'
expect "it does not stop the listing" json "$work/out" 'd["devices"][0]["driver_version"] == "1.0"'
with FAKE_DRIVER_FAIL=0x102C -- --all --no-probe
expect "people see it too" has '^  vendor  *query failed: CL_OUT_OF_RESOURCES (-5)$' out
with FAKE_DRIVER_FAIL=0x102C -- --prop vendor
expect "and --prop, where no value stands then: status 1" [ "$status$(cat "$work/out")" = 1 ]
expect "but why" has '^qkv-devices: 0:0 vendor: query failed: CL_OUT_OF_RESOURCES (-5)$' err
with FAKE_DRIVER_FAIL=0x102B -- --summary --no-probe
expect "a device whose name is not known has a line that says so" has '^0:0  name unknown (' out
long=A-device-whose-name-takes-up-far-more-than-any-column-of-the-table-has-room-for
for locale in C:A-device[^…]*[.][.][.] C.UTF-8:A-device[^.]*…; do
    with LC_ALL="${locale%%:*}" FAKE_DRIVER_NAME=$long -- --no-probe
    expect "a long name is cut in the table as the locale ${locale%%:*} can show it" has "^-> 0:0  *${locale#*:} " out
done
with FAKE_DRIVER_EMPTY=0x1002 -- --json --no-probe
expect "an answer of no bytes is a query that failed" json "$work/out" \
    'd["devices"][0]["compute_units"] is None and d["devices"][0]["errors"] == {"compute_units": "the driver answers 0 bytes"}'
with FAKE_DRIVER_HUGE=0x101F -- --json --no-probe
expect "so is a number that no device has" json "$work/out" \
    'd["devices"][0]["global_memory"] is None and d["devices"][0]["errors"] == {"global_memory": "the driver answers 18446744073709551615"}'
run --all --no-probe
expect "a driver's text cannot steer the terminal" lacks "$(printf '\033')" out
escape=$(printf '\033')
for arguments in '' --all -l --summary --raw '-d 0:0' '-d nothing' '--best decode' --measure --self-test; do
    # shellcheck disable=SC2086
    with FAKE_DRIVER_NAME="Fake${escape}[2J$(printf '\302\233')2J" -- $arguments
    cat "$work/err" >>"$work/out"
    expect "nor its name, with ${arguments:-no options}" lacks "$escape\|$(printf '\302\233')" out
done
run --all --no-probe
expect "a clock of 0 is none that is known" has '^  clock  *unknown$' out
expect "no lanes mean that there is no such arithmetic" has '^  double, native  *none: no fp64 arithmetic$' out
run --raw --no-probe
expect "--raw has what the driver says" has ' CL_DEVICE_MAX_CLOCK_FREQUENCY  *0$' out
with FAKE_DRIVER_COMPILER=0 -- --no-probe
expect "no compiler: refused" says 'cannot be used: the driver has no OpenCL C compiler What would help: ' out
with FAKE_DRIVER_COMPILER=0 -- -d 0:0 --no-probe
expect "a refused device can be looked at" has '^  verdict  *refused$' out
expect "a refused device: status 1" gives 1
with FAKE_DRIVER_DEVICES=0 --
expect "a platform without devices: status 1" gives 1
expect "it is named" says 'Platform 0, Fake platform, shows no device To do: ' out
with FAKE_DRIVER_DEVICES=0 -- --self-test
expect "nothing to test: status 1" gives 1

# ---- such a driver beside a good one ----
drivers both "$standins/fake_driver.so"
for file in "$good"/*pocl*.icd; do
    [ ! -r "$file" ] || cp "$file" "$work/icd-both/"
done
if [ "$(find "$work/icd-both" -name '*.icd' | wc -l)" -gt 1 ]; then
    with FAKE_DRIVER_CRASH=clGetDeviceIDs -- --summary --no-probe
    expect "a driver that kills the listing is left out" has '^0:0  .* use: ' out
    with FAKE_DRIVER_CRASH=clGetDeviceInfo --
    expect "it is named" says "The driver $standins/fake_driver.so ($work/icd-both/both.icd) crashed (SIGABRT)" out
    expect "with its last words" says 'Its last words: fake driver: gives up' out
    expect "the others are tried" has 'Tried: ' out
    expect "status 0" gives 0
    with FAKE_DRIVER_HANG=clIcdGetPlatformIDsKHR -- --timeout 3 --no-probe
    expect "a driver that holds the listing up is left out too" says 'did not answer within 2 s while its devices' out
    expect "the others are listed" has '^-> 0:0 .* use ' out
    run --no-probe
    auto=$(sed -n 's/^-> \([0-9]*:[0-9]*\) .*/\1/p' "$work/out" | head -n 1)
    run
    expect "auto takes a device that does not work: said, with the one to name" \
        says "\"auto\" takes $auto, Fake GPU, which does not work To do: export QKV_DEVICE=[0-9]:[0-9]" out
    expect "status 0: there is another one" gives 0
    run --best decode
    expect "--best passes over what does not work" has '^qkv-devices: [0-9]*:0, Fake GPU, is passed over: it cannot be used' err
    expect "and names what does" [ "$status$(cat "$work/out")" = "0$(with -- --json - && python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
print([x["selector"] for x in d["devices"] if x["name"] != "Fake GPU"][0])' "$work/out")" ]
    expect "nothing is left behind" [ -z "$(find "$work" -name 'qkv-devices-*')" ]
else
    skip "a bad driver beside a good one: no PoCL here"
fi

# ---- a good driver that lies ----
export OCL_ICD_VENDORS="$good"
with LD_PRELOAD="$standins/lying_driver.so" LYING_GROUP=2 -- -d auto --prop max_work_group_size
lie=$(cat "$work/out")
run -d auto --prop max_work_group_size
honest=$(cat "$work/out")
if [ -n "$lie" ] && [ "$lie" = $((${honest:-0} * 2)) ]; then
    LD_PRELOAD=$standins/lying_driver.so
    patience=$(echo "${QKV_TEST_SCALE:-1}" | awk '{print ($1 < 0.2) ? 100 : 12}') # for what comes before the hang
    run -d auto --json
    cp "$work/out" "$work/truth.json" # as far as the driver goes, which may itself promise too much, or too little
    truth() { json "$work/truth.json" "(lambda p: $1)(d['devices'][0]['probes'])"; }
    group() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["devices"][0]["probes"]["group_size"][sys.argv[2]])' "$@"; }
    claimed=$(group "$work/truth.json" claimed) works=$(group "$work/truth.json" value)
    with LD_PRELOAD="$LD_PRELOAD" LYING_GROUP=2 -- -d auto --json
    if [ "$(group "$work/out" value)" -gt "$claimed" ]; then
        skip "a work-group that is claimed too large: this device runs larger ones than it says"
    else
        expect "a work-group that is claimed too large" [ "$(group "$work/out" claimed)" = $((2 * claimed)) ]
        expect "is less than claimed" [ "$(group "$work/out" agreement)" = less ]
        [ "$claimed" != "$works" ] || expect "it is as large as can be" [ "$(group "$work/out" value)" = "$claimed" ]
        with LD_PRELOAD="$LD_PRELOAD" LYING_GROUP=2 --
        [ "$claimed" != "$works" ] || expect "and in words" says "! largest work-group: $works of the $((2 * works)) claimed: " out
    fi
    if truth 'p["integer_dot"]["state"] == "absent" and not p["integer_dot"]["claimed"]'; then
        with LD_PRELOAD="$LD_PRELOAD" LYING_EXTENSION=cl_arm_integer_dot_product_int8 --
        expect "an extension that is claimed and not there is marked" has '! integer dot product: claimed, but not there' out
    else
        skip "an extension that is claimed and not there: this device has it"
    fi
    with LD_PRELOAD="$LD_PRELOAD" LYING_CRASH=REAL=half -- -d auto --json
    expect "a crash in one probe is that probe's" json "$work/out" 'd["devices"][0]["probes"]["half"]["state"] == "crashed"'
    expect "the ones after it are tried all the same" json "$work/out" \
        '[d["devices"][0]["probes"][k]["state"] for k in ("double", "allocation")] == [
            json.load(open("'"$work/truth.json"'"))["devices"][0]["probes"][k]["state"] for k in ("double", "allocation")]'
    expect "the device can be used" json "$work/out" 'd["devices"][0]["verdict"] == "use"'
    with LD_PRELOAD="$LD_PRELOAD" LYING_SAY=half_storage LYING_DIE=REAL=half -- -d auto --json
    expect "what was said at an earlier probe is not its last words" json "$work/out" \
        'd["devices"][0]["probes"]["half"]["detail"] == "the driver crashed (SIGABRT)"'
    with LD_PRELOAD="$LD_PRELOAD" LYING_HANG=REAL=half -- -d auto --timeout "$patience"
    expect "a hang in one probe is that probe's" says 'fp16 arithmetic - hangs: the driver did not answer' out
    expect "the ones before it count" has '^  infinities and NaN kept  *yes  *yes$' out
    for query in 0x1010:allocation 0x1004:group_size 0x1023:local_bytes 0x101B:denormals 0x1030:half; do
        key=${query#*:}
        with LD_PRELOAD="$LD_PRELOAD" LYING_QUERY="${query%:*}" -- -d auto --json
        expect "what is claimed of $key is not known where the query fails; it is tried all the same" json "$work/out" \
            '(lambda o: o["claimed"] is None and o["state"] != "failed" and o["agreement"] is None)(d["devices"][0]["probes"]["'"$key"'"])'
    done
    # No lie, but a busy machine. What is timed must come out the same.
    run -d auto --prop fast_fma
    cp "$work/out" "$work/fma"
    with LD_PRELOAD="$LD_PRELOAD" LYING_SLOW=chain_fma -- -d auto --prop fast_fma
    expect "a machine that is busy for a while does not make fma() slow" cmp -s "$work/out" "$work/fma"
    with LD_PRELOAD="$LD_PRELOAD" LYING_WRONG=basic -- -d auto
    expect "a wrong result: refused" says 'cannot be used: a small kernel gives a wrong result: work-item 0 computes' out
    expect "a wrong result: status 1" gives 1
    with LD_PRELOAD="$LD_PRELOAD" LYING_WRONG=local_memory -- -d auto --json
    ! truth 'p["local_bytes"]["agreement"] == "as claimed"' ||
        expect "local memory that does not hold" json "$work/out" 'd["devices"][0]["probes"]["local_bytes"]["state"] == "wrong"'
    with LD_PRELOAD="$LD_PRELOAD" LYING_WRONG=memory_check -- -d auto --json
    expect "an allocation that does not hold" json "$work/out" 'd["devices"][0]["probes"]["allocation"]["state"] == "wrong"'
    # What the tool refuses it does not recommend either.
    with LD_PRELOAD="$LD_PRELOAD" LYING_ENQUEUE=basic -- -d auto --json
    expect "no kernel can be enqueued: refused, and not usable" json "$work/out" \
        '(d["devices"][0]["verdict"], d["devices"][0]["usable"]) == ("refused", False)'
    expect "nor the best for anything" json "$work/out" \
        'all(b is None or b["selector"] != d["devices"][0]["selector"] for b in d["best"].values())'
    alone=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["best"]["decode"] is None)' "$work/out")
    with LD_PRELOAD="$LD_PRELOAD" LYING_ENQUEUE=basic -- --best decode
    expect "--best says that it is passed over" has 'is passed over: it cannot be used' err
    [ "$alone" != True ] || expect "--best prints nothing then, status 1" [ "$status$(cat "$work/out")" = 1 ]
    with LD_PRELOAD="$LD_PRELOAD" LYING_ENQUEUE=group_size -- -d auto
    expect "no work-group of any size: refused" says 'cannot be used: no size of work-group works: clEnqueueNDRange' out
    expect "and status 1" gives 1
    with LD_PRELOAD="$LD_PRELOAD" LYING_ENQUEUE=memory_fill -- -d auto
    expect "no allocation of any size: refused" says 'cannot be used: no allocation works: ' out
    expect "and status 1 as well" gives 1
    with LD_PRELOAD="$LD_PRELOAD" LYING_CRASH=-cl -- -d auto --measure
    json "$work/truth.json" 'd["devices"][0]["kind"] == "simulator"' || # which is not measured at all
        expect "nothing measured: said, status 1" [ "$status$(grep -c 'not measured: .*lying driver' "$work/out")" = 11 ]
    with LD_PRELOAD="$LD_PRELOAD" LYING_CRASH=-cl -- -d auto --self-test
    expect "a self-test that crashes: status 1" gives 1
    # Its last words may be its compiler's, which has a handler of its own.
    expect "and says so" says 'the driver crashed (SIGABRT): ' out
else
    skip "drivers that lie: nothing can be preloaded here"
fi

# ---- a machine without ----
drivers none
run
expect "no driver: status 1" gives 1
expect "it says what to install" has 'pocl-opencl-icd' out
expect "it says where it looked" says "There is no .icd file in $OCL_ICD_VENDORS" out
expect "no bare error code" lacks '1001' out
run --json
expect "--json is whole, auto null" json "$work/out" \
    'd["schema"] == 2 and d["platforms"] == d["devices"] == [] and d["auto"] is None and len(d["problems"]) >= 1'
for arguments in '-d auto' -l --summary --raw '--prop name' --measure --self-test '--best decode'; do
    # shellcheck disable=SC2086
    run $arguments
    expect "$arguments without a driver: status 1" gives 1
    expect "$arguments without a driver: nothing on standard output" empty out
    expect "$arguments without a driver: why" [ -s "$work/err" ]
done
drivers missing libno-such-driver.so.1
run
expect "a driver that is not there is named, with its file" \
    says "missing.icd names the driver libno-such-driver.so.1, which cannot be loaded: cannot open shared object file" out
drivers foreign libm.so.6
run
expect "a library that is no driver" says 'names the driver libm.so.6, .* it is no OpenCL driver' out
drivers empty
: >"$work/icd-empty/empty.icd"
run
expect "an empty file" says 'empty.icd is empty: it must hold the name' out
OCL_ICD_VENDORS=$work/icd-missing/missing.icd
run
expect "OCL_ICD_VENDORS may name a file" says 'missing.icd names the driver libno-such-driver.so.1' out
rusticl=$(grep -ihs rusticl /etc/OpenCL/vendors/*.icd | head -n 1)
if [ -n "$rusticl" ]; then
    drivers rusticl "$rusticl"
    run
    expect "rusticl without RUSTICL_ENABLE" says 'rusticl (Mesa), shows no device: RUSTICL_ENABLE is not set' out
    expect "and what to set" has 'RUSTICL_ENABLE to radeonsi' out
else
    skip "rusticl without RUSTICL_ENABLE: it is not installed"
fi

# ---- hardware that no driver shows ----
drivers none
root=$work/machine
mkdir -p "$root/dev/dri" "$root/sys/bus/pci/devices/0000:01:00.0" "$root/sys/bus/pci/devices/0000:02:00.0"
echo 0x030000 >"$root/sys/bus/pci/devices/0000:01:00.0/class"
echo 0x10de >"$root/sys/bus/pci/devices/0000:01:00.0/vendor"
echo 0x020000 >"$root/sys/bus/pci/devices/0000:02:00.0/class"
echo 0x8086 >"$root/sys/bus/pci/devices/0000:02:00.0/vendor"
: >"$root/dev/dri/renderD128"
chmod 660 "$root/dev/dri/renderD128"
run --root "$root"
expect "a GPU without a driver" says 'There is a GPU of NVIDIA at PCI address 0000:01:00.0, but no OpenCL driver' out
expect "its package" has 'nvidia-opencl-icd' out
expect "a network card is none" lacks '0000:02:00.0' out
expect "a device file that may be opened is no problem" lacks 'renderD128' out
# What root may open it may always: as a user of no group, whom the folders here let through.
if [ "$(id -u)" != 0 ]; then
    chmod 000 "$root/dev/dri/renderD128"
    run --root "$root"
    expect "a device file that may not be opened" says 'may not open .*/dev/dri/renderD128, which the group' out
elif setpriv --reuid=65534 --regid=65534 --clear-groups "$tool" --version >/dev/null 2>&1; then
    status=0
    setpriv --reuid=65534 --regid=65534 --clear-groups "$tool" --root "$root" >"$work/out" 2>"$work/err" || status=$?
    expect "a device file that may not be opened" \
        says 'This user may not open .*/dev/dri/renderD128, which the group root owns' out
    expect "what to do" says 'To do: give it to the group [a-z]* by a rule' out
    expect "nobody is to join root's group" lacks '-aG root' out
else
    skip "a device file that may not be opened: root may open all"
fi

# ---- hardware that is shown, and what only looks like it ----
drivers fake "$standins/fake_driver.so"
root=$work/machine-2
pci=$root/sys/bus/pci/devices
hardware() { # ADDRESS CLASS VENDOR [FILE DRIVER]: one more, perhaps with that device file that nobody may open
    mkdir -p "$pci/$1"
    echo "$2" >"$pci/$1/class"
    echo "$3" >"$pci/$1/vendor"
    [ -n "${4:-}" ] || return 0
    mkdir -p "$root/dev/${4%/*}" "$root/sys/class/$5/${4##*/}"
    ln -s "$pci/$1" "$root/sys/class/$5/${4##*/}/device"
    : >"$root/dev/$4"
    chmod 000 "$root/dev/$4"
}
hardware 0000:01:00.0 0x030000 0x1002 dri/renderD128 drm
hardware 0000:02:00.0 0x030000 0x1002 dri/renderD129 drm
hardware 0000:03:00.0 0x030000 0x10de dri/renderD130 drm
hardware 0000:04:00.0 0x030000 0x10de dri/renderD131 drm
hardware 0000:05:00.0 0x120000 0x8086 accel/accel0 accel
hardware 0000:06:00.0 0x120000 0x1002
hardware 0000:07:00.0 0x030000 0x8086
mkdir -p "$root/sys/bus/pci/drivers/nouveau"
ln -s "$root/sys/bus/pci/drivers/nouveau" "$pci/0000:04:00.0/driver"
ln -s "$pci/0000:01:00.0" "$pci/0000:07:00.0/physfn"
with FAKE_DRIVER_PCI=1 FAKE_DRIVER_VENDOR=0x1002 -- --no-probe --root "$root"
expect "what is shown is not missed" lacks '0000:01:00.0' out
expect "another one of its vendor is" says 'There is a GPU of AMD at PCI address 0000:02:00.0, but no OpenCL driver' out
expect "an accelerator is not called a GPU" says 'There is an accelerator of AMD at PCI address 0000:06:00.0, but' out
expect "Intel's accelerators are no devices of OpenCL" lacks '0000:05:00.0' out
expect "a part of a GPU for virtual machines is not missed" lacks '0000:07:00.0' out
with FAKE_DRIVER_VENDOR=0x1002 -- --no-probe --root "$root"
expect "where a driver does not say which it shows, none of that vendor's is missed" lacks 'of AMD at PCI address' out
expect "others are" says 'There is a GPU of NVIDIA at PCI address 0000:03:00.0' out
user=
[ "$(id -u)" != 0 ] || user="setpriv --reuid=65534 --regid=65534 --clear-groups"
if $user "$tool" --version >/dev/null 2>&1; then
    with FAKE_DRIVER_PCI=1 FAKE_DRIVER_VENDOR=0x1002 -- --no-probe --root "$root"
    expect "the device file of what is shown is in nobody's way" lacks 'renderD128' out
    expect "that of what is not shown is" says 'This user may not open .*/dev/dri/renderD129' out
    expect "NVIDIA's OpenCL does not use such a file" lacks 'renderD130' out
    expect "Mesa's driver for such GPUs does" says 'This user may not open .*/dev/dri/renderD131' out
    expect "nor is one of an NPU" lacks 'accel0' out
else
    skip "device files that may not be opened: root may open all"
fi
user=

finish
