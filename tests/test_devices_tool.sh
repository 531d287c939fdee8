#!/bin/sh
# qkv-devices on a machine in order: its forms of output, what it tries.
# Environment: BUILD.
set -u
suite=devices_tool
schema=tests/data/qkv-devices.schema.json
# shellcheck source=tests/support/devices.sh
. tests/support/devices.sh
# A character is a byte then, for every awk.
export LC_ALL=C

# A python that has the validator, if any has.
validator=
for python in python3 /usr/bin/python3; do
    [ -n "$validator" ] || ! "$python" -c 'from jsonschema import Draft202012Validator' 2>/dev/null || validator=$python
done
# shellcheck disable=SC2317
valid() { # FILE [open]: fits the schema; open: as it is published
    "$validator" -W ignore -c '
import json, sys
from jsonschema import Draft202012Validator
rules = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(rules)
# For users it allows additions; here every member is in it.
def close(rule):
    if isinstance(rule, dict):
        if isinstance(rule.get("properties"), dict): rule.setdefault("additionalProperties", len(sys.argv) > 3)
        for part in rule.values(): close(part)
    elif isinstance(rule, list):
        for part in rule: close(part)
close(rules)
wrong = list(Draft202012Validator(rules).iter_errors(json.load(open(sys.argv[2]))))
for error in wrong:
    print(list(error.path), error.message[:200])
sys.exit(bool(wrong))' "$schema" "$@"
}
expect_valid() { # NAME FILE
    if [ -n "$validator" ]; then
        expect "$1" valid "$2"
    else
        skip "$1: no python3-jsonschema here"
    fi
}

# ---- for people ----
run
expect "a machine with a device: status 0" gives 0
expect "the table has its headings" has '^   SELECTOR  DEVICE .* VERDICT ' out
expect "one device is marked" [ "$(grep -c '^-> [0-9]*:[0-9]* .* use .*[KMGT]iB' "$work/out")" = 1 ]
expect "its reason stands below" has '^-> [0-9]*:[0-9]*  .*(.*):' out
# shellcheck disable=SC2317
columns_explained() {
    tr -s ' \n' ' ' <"$work/out" >"$work/flat"
    for word in $(grep '^   SELECTOR' "$work/out" | sed 's/CL C/CL_C/; s/DEVICE\|KIND\|VERDICT\|MEMORY//g'); do
        grep -q "Columns: .*$(echo "$word" | tr _ ' ') [a-z]" "$work/flat" || return 1
    done
}
expect "every heading that is OpenCL's word is explained" columns_explained
expect "what was tried is summed up" has 'Tried: [0-9]* of [0-9]* capabilities are what the driver claims' out
expect "no line is wider than 100 columns" narrow 100
expect "nothing on standard error" empty err
expect "no colours in a pipe" lacks "$(printf '\033')" out

run --no-probe
expect "--no-probe: status 0" gives 0
expect "--no-probe tries nothing" lacks 'Tried' out

run -d auto
expect "-d auto: status 0" gives 0
expect "-d auto says what it is" has '^"auto" is [0-9]*:[0-9]*' out
expect "-d shows properties that no column has" has '^  driver  ' out
expect "-d shows what was claimed beside what was found" has '^  a kernel compiles, runs, is right  *yes  *yes$' out
expect "-d: no line is wider than 100 columns" narrow 100
cp "$work/out" "$work/one.txt"
run --all
expect "--all: status 0" gives 0
expect "--all has every device" [ "$(grep -c '^==== ' "$work/out")" = "$(grep -c '^  selector  ' "$work/out")" ]
run -l
expect "-l: a tree" has '^ [`|]-- [0-9]*:[0-9]*  .*<- auto$' out
expect "-l: platforms" has '^Platform #0: ' out
run --summary
expect "--summary: one line a device" [ "$(grep -c '^[0-9]*:[0-9]*  ' "$work/out")" = "$(wc -l <"$work/out")" ]
expect "--summary has the verdict" has '  use: ' out

# ---- for programs ----
run --json
cp "$work/out" "$work/all.json"
expect "--json: status 0" gives 0
expect "--json: schema 2" json "$work/all.json" 'd["schema"] == 2'
expect "--json: auto is one of the devices" json "$work/all.json" \
    '[x["selector"] for x in d["devices"] if x["auto"]] == [d["auto"]]'
expect "--json: platforms count their devices" json "$work/all.json" \
    'sum(p["num_devices"] for p in d["platforms"]) == len(d["devices"])'
expect "--json: numbers are numbers" json "$work/all.json" \
    'all(x[k] > 0 for x in d["devices"] for k in ("global_memory", "max_allocation", "compute_units") if x["usable"])'
expect "--json: every device has a verdict and a reason" json "$work/all.json" \
    'all(x["reason"] and x["verdict"] in ("use", "usable", "refused") for x in d["devices"])'
expect_valid "--json fits the schema" "$work/all.json"
if [ -n "$validator" ]; then
    python3 - "$work/all.json" "$work/later.json" <<'END'
import json, sys
document = json.load(open(sys.argv[1]))
for at in [document, document["platforms"][0], document["devices"][0], document["devices"][0]["probes"]]:
    at["member_of_a_later_version"] = 1
json.dump(document, open(sys.argv[2], "w"))
END
    expect "the published schema allows what later versions add" valid "$work/later.json" open
    # shellcheck disable=SC2317
    not_valid() { ! valid "$@" >/dev/null; }
    expect "as it is checked here, it does not" not_valid "$work/later.json"
fi
run --json "$work/file.json" --no-probe
expect "--json FILE prints nothing" empty out
expect "--json FILE writes the same, less the trial" json "$work/file.json" \
    '[x["name"] for x in d["devices"]] == [x["name"] for x in json.load(open("'"$work"'/all.json"))["devices"]] and not any("probes" in x for x in d["devices"])'
expect_valid "--json --no-probe fits the schema" "$work/file.json"
run --json "$work/missing/file.json" --no-probe
expect "--json into a folder that does not exist: status 1" gives 1
expect "and says so" has 'cannot write' err
expect "a file that is written leaves nothing beside it" [ "$(find "$work" -name 'file.json*' | wc -l)" = 1 ]
ln -s file.json "$work/link.json"
run --json "$work/link.json" --no-probe
expect "a link stays one" [ -L "$work/link.json" ]
run --json /dev/null --no-probe
expect "a device file stays one" [ -c /dev/null ]
run --json "$work" --no-probe
expect "a folder is no file: status 1" gives 1
run -d 'no such device' --json
expect "-d with a text that fits none, in JSON" json "$work/out" 'd["devices"] == [] and "fits none" in d["selection_error"]'
expect "status 1 all the same" gives 1
expect_valid "that fits the schema" "$work/out"
run -d auto --json - --no-probe
expect "-d with --json: that device only" json "$work/out" \
    'len(d["devices"]) == 1 and d["devices"][0]["selector"] == d["auto"]'

# ---- one row feeds every form ----
run --prop help
cp "$work/out" "$work/names"
expect "--prop help lists more than a hundred properties" [ "$(wc -l <"$work/names")" -gt 100 ]
# shellcheck disable=SC2317
same_names() {
    python3 - "$schema" "$work/names" <<'END'
import json, sys
rules = json.load(open(sys.argv[1]))["$defs"]
known = set(rules["device"]["required"]) - {"errors"} | set(rules["probes"]["required"])
listed = {line.split()[0] for line in open(sys.argv[2]) if not line.startswith("QKV_CLAIM_")}
print(known ^ listed)
sys.exit(known != listed)
END
}
expect "the schema knows exactly these" same_names
run --raw -d auto --no-probe
cp "$work/out" "$work/raw"
run --json -d auto --no-probe
# Every value of --raw is the JSON's, by the names that --prop help pairs; and nothing is missing from it.
# shellcheck disable=SC2317
same_values() {
    python3 - "$work/out" "$work/raw" "$work/names" <<'END'
import json, sys
device = json.load(open(sys.argv[1]))["devices"][0]
raw = {}
for line in open(sys.argv[2]):
    if line.split("]")[0].endswith(":*"):
        continue
    name, _, value = line.rstrip("\n").split("]  ", 1)[1].partition(" ")
    raw[name] = value.strip()
keys = {part[1]: part[0] for part in (line.split() for line in open(sys.argv[3])) if not part[1].startswith(("QKV_PROBE_", "QKV_CLAIM_"))}
wrong = [name for name in raw if name not in keys]
for name, key in keys.items():
    value = device[key]
    if value is None:
        wrong += [key] if name in raw else []
    elif isinstance(value, bool):
        wrong += [key] if raw[name] != str(value).lower() else []
    elif isinstance(value, list):
        words = raw[name].replace(";", " ").split()
        wrong += [key] if words != " ".join(map(str, value)).replace(";", " ").split() else []
    elif isinstance(value, int):
        wrong += [key] if int(raw[name], 0) != value else []
    elif isinstance(value, str):
        wrong += [key] if raw[name].split() != value.split() else []
print(wrong)
sys.exit(bool(wrong))
END
}
expect "--raw and --json agree on every property" same_values
for name in name CL_DEVICE_NAME cl_device_name; do
    run -d auto --prop $name
    expect "--prop $name is the device's name, alone" \
        [ "$(cat "$work/out")" = "$(sed -n 's/.*CL_DEVICE_NAME  *//p' "$work/raw")" ]
done
run --prop compute_units
expect "--prop without -d: a line for each device, with its selector" has '^[0-9]*:[0-9]*  [0-9][0-9]*$' out
run --prop kernels -d auto
expect "--prop of what was tried" [ "$(cat "$work/out")" = works ]
run --prop QKV_CLAIM_KERNELS -d auto
expect "--prop of what was claimed" [ "$(cat "$work/out")" = true ]
run --prop hal
expect "--prop suggests what is tried as well" has 'near it: half_storage, half, ' err
run --prop nv_warp -d auto
expect "--prop of what the device does not offer: no value, status 1" [ "$status$(cat "$work/out")" = 1 ]
expect "and says so" has 'does not offer nv_warp' err
run --prop kernels -d auto --no-probe
expect "--prop of what was not tried: no value, status 1" [ "$status$(cat "$work/out")" = 1 ]
run --raw -d auto
expect "--raw has the platform" has '^\[[0-9]*:[*]\]  CL_PLATFORM_VERSION  *OpenCL ' out
# shellcheck disable=SC2317
raw_names_known() {
    sed -n 's/^\[[0-9]*:[0-9]*\]  \([A-Z0-9_]*\) .*/\1/p' "$work/out" | grep -v 'QKV_\(AGREEMENT\|CAPPED\|DETAIL\)_' >"$work/raw-names"
    awk '{ print $2 }' "$work/names" >"$work/known-names"
    ! grep -Fvxf "$work/known-names" "$work/raw-names"
}
expect "--prop help has every name of --raw" raw_names_known
expect "--raw has what the probes said" has ' QKV_AGREEMENT_KERNELS  *as claimed$' out
run --prop memory
expect "--prop of nothing known: status 2" gives 2
expect "it names what comes near" has 'global_memory' err

# ---- what was tried ----
expect "kernels run" json "$work/all.json" 'all(x["probes"]["kernels"]["state"] == "works" for x in d["devices"] if x["usable"])'
expect "nothing crashed, hung or was left out" json "$work/all.json" \
    'all(o["state"] not in ("crashed", "hung", "skipped") for x in d["devices"] if x["usable"] for o in x["probes"].values())'
expect "on PoCL no probe fails, and loops run to their end" json "$work/all.json" \
    'all(o["state"] != "failed" and x["probes"]["loops"]["state"] == "works"
         for x in d["devices"] if x["usable"] and x["platform"] == "Portable Computing Language"
         for o in x["probes"].values())'
expect "loops were run, to their end or not" json "$work/all.json" \
    'all(x["probes"]["loops"]["state"] in ("works", "wrong") for x in d["devices"] if x["usable"])'
# What works may be less than the driver says, never more than was tried.
fits='0 < o["value"] <= o["claimed"] and (o["agreement"] == "as claimed") == (o["value"] == o["claimed"]) and \
    o["agreement"] in ("as claimed", "less")'
expect "a work-group ran, at most the claim, and what that says of the claim" json "$work/all.json" \
    'all('"$fits"' and o["claimed"] <= x["max_work_group_size"] for x in d["devices"] if x["auto"]
         for o in [x["probes"]["group_size"]])'
expect "local memory was written, and so" json "$work/all.json" \
    'all('"$fits"' and o["claimed"] == x["local_memory"] for x in d["devices"] if x["auto"]
         for o in [x["probes"]["local_bytes"]])'
# shellcheck disable=SC2317
embeds_nothing() {
    echo '#include "no-such-file.cl"' >"$work/lost.cl"
    ! tools/embed-kernels --text "$work/lost.cl" >"$work/out" 2>"$work/err" && has 'no-such-file' err &&
        ! tools/embed-kernels "$work/lost.cl" >"$work/out" 2>>"$work/err"
}
expect "a kernel whose include is not there is not built" embeds_nothing
expect "an allocation was written, at most the claim" json "$work/all.json" \
    'all(0 < x["probes"]["allocation"]["value"] <= x["max_allocation"] for x in d["devices"] if x["auto"])'
expect "a claim and a finding that differ are marked, others not" json "$work/all.json" \
    'all((o["agreement"] == "as claimed") == (o["claimed"] == (o["state"] == "works")) for x in d["devices"] if x["usable"]
         for o in x["probes"].values() if isinstance(o["claimed"], bool))'
# But for what is timed: on a busy machine that may come out differently from one run to the next.
expect "and so in -d" [ "$(grep '^[!+] [a-z0-9]' "$work/one.txt" | grep -vc '^. fma()')" = \
    "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
x = [x for x in d["devices"] if x["auto"]][0]
print(sum(o["agreement"] in ("more", "less") for k, o in x["probes"].items() if k != "fast_fma"))' "$work/all.json")" ]

# ---- what drivers say, by the layer of tests/liar ----
lying() { # LIES ARGUMENT...: as run
    lies=$1
    shift
    OPENCL_LAYERS=$(cd "$build" && pwd)/tests/liar.so LIAR=$lies
    export OPENCL_LAYERS LIAR
    run "$@"
    unset OPENCL_LAYERS LIAR
}
lying 'device=NAME:a lie' --summary --no-probe
if has 'a lie' out; then
    lying 'device=PROFILE:EMBEDDED_PROFILE'
    expect "an embedded device without 64-bit integers: none to use, status 1" gives 1
    expect "it is refused, with the reason" says 'cannot be used: an embedded profile .* (cles_khr_int64)' out
    expect "and what would help" says 'What would help: another device' out
    expect "auto takes none" lacks '^->' out
    lying 'device=PROFILE:EMBEDDED_PROFILE; device=EXTENSIONS:cl_khr_icd cles_khr_int64' --summary --no-probe
    expect "one with them is used" gives 0
    expect "and its reason names the profile" has ' use: .*of the embedded profile' out
    lying 'reject=-cl-std=CL1.2' --summary -d auto
    expect "a driver that refuses -cl-std: status 0" gives 0
    expect "its device is used all the same" has ' use: ' out
    lying 'lack=vload_half; lack=vstore_half' --json -d auto
    expect "a compiler without fp16 as storage lacks that alone: the device is used" json "$work/out" \
        '(lambda x: x["verdict"] == "use" and x["probes"]["half_storage"]["state"] == "absent" and
             all(x["probes"][k]["state"] == y["probes"][k]["state"] for y in json.load(open("'"$work/all.json"'"))["devices"]
                 if y["auto"] for k in ("kernels", "wide_integers", "infinities", "denormals")))(d["devices"][0])'
    lying 'lack=mul_hi; lack=fma; lack=isinf' --json -d auto
    expect "so with 64-bit products, fma() and isinf()" json "$work/out" \
        '(lambda p: p["kernels"]["state"] == "works" and
             [p[k]["state"] for k in ("wide_integers", "fast_fma", "infinities")] == ["absent"] * 3)(d["devices"][0]["probes"])'
    # A kernel that faults takes its context along, or all of the process: what is tried after it is not to suffer.
    # shellcheck disable=SC2317
    unharmed() { # PROBE: every other one ended as without lies, but for what is timed
        json "$work/out" '(lambda x: x["verdict"] == "use" and
            all(o["state"] == y["probes"][k]["state"] for y in json.load(open("'"$work/all.json"'"))["devices"] if y["auto"]
                for k, o in x["probes"].items() if k not in ("'"$1"'", "fast_fma")))(d["devices"][0])'
    }
    for lie in wide_integers wide_integers:0:process; do
        lying "fault=$lie" --json -d auto
        expect "fault=$lie: that probe failed" json "$work/out" \
            'd["devices"][0]["probes"]["wide_integers"]["state"] == "failed"'
        expect "fault=$lie: no other did" unharmed wide_integers
    done
    # shellcheck disable=SC2317
    found() { json "$work/out" '(lambda o: o["state"] == "works" and '"$2"')(d["devices"][0]["probes"]["'"$1"'"])'; }
    lying 'fault=group_size:64' --json -d auto
    expect "too large a group is a fault: what is less works" found group_size 'o["value"] == 64'
    expect "too large a group: no other probe failed" unharmed group_size
    lying 'fault=group_size:64:process' --json -d auto
    expect "where the process is lost at too large a group, nobody knows of smaller ones: not refused" json "$work/out" \
        'd["devices"][0]["probes"]["group_size"]["state"] == "crashed"'
    expect "and no other probe failed" unharmed group_size
    lying 'fault=memory_fill:5000' --json -d auto # of a word each 4 KiB
    expect "too much written is a fault: what is less works" found allocation '0 < o["value"] < 5000 * 4096'
    lying 'fault=local_memory:4096' --json -d auto
    json "$work/all.json" 'any(x["auto"] and x["probes"]["local_bytes"]["state"] != "works" for x in d["devices"])' ||
        expect "too much local memory is a fault: what is less works" found local_bytes '0 < o["value"] <= 4096'
    expect "too much local memory: no other probe failed" unharmed local_bytes
    lying 'kernel=WORK_GROUP_SIZE:1; most=group:1' --json -d auto
    expect "kernels that run in groups of one only: local memory works all the same" json "$work/out" \
        '(lambda p: p["group_size"]["value"] == 1 and all(
            p["local_bytes"]["state"] == x["probes"]["local_bytes"]["state"]
            for x in json.load(open("'"$work/all.json"'"))["devices"] if x["auto"]))(d["devices"][0]["probes"])'
else
    skip "what drivers say: this loader has no layers, or the layer was not built"
fi

# ---- choosing, measuring, self-test ----
run -d 'no such device'
expect "-d with a text that fits none: status 1" gives 1
expect "and lists what there is" has '[0-9]:[0-9]' err
run -d 0
expect "-d with a bare number: status 1, and how an index is written" [ "$status$(grep -c 'write an index as P:D' "$work/err")" = 11 ]
run -d 99:0
expect "-d with an index that is too large: status 1" gives 1
for work_kind in prefill decode projection; do
    run --best $work_kind
    expect "--best $work_kind prints a selector, alone" [ "$(grep -c '^[0-9]*:[0-9]*$' "$work/out")" = "$(wc -l <"$work/out")" ]
done
run --best everything
expect "--best of something else: status 2" gives 2
auto=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["auto"])' "$work/all.json")
run --self-test -d auto
expect "--self-test: status 0" gives 0
expect "--self-test says what its columns are" has '^  OPERATION  SOLVER .* KNOWN ANSWER ' out
expect "--self-test has a row for every solver" has '^  attention  plain .* passed ' out
if json "$work/all.json" '[x["kind"] for x in d["devices"] if x["auto"]] == ["simulator"]'; then
    run --measure -d auto
    expect "--measure of a simulator: no figures, why, and status 1" \
        [ "$status$(grep -c "not measured: a simulator's speed means nothing" "$work/out")" = 11 ]
else
    mkdir -m 700 "$work/kept"
    QKV_CACHE_DIR=$work/kept
    export QKV_CACHE_DIR
    run --measure -d auto --json - --no-probe
    expect "--measure --json: figures of the library" json "$work/out" \
        'all(d["devices"][0]["measurement"][k] > 0 for k in ("projection_gflops", "prefill_gflops", "decode_gbps"))'
    expect_valid "--measure --json fits the schema" "$work/out"
    # What was measured while other processes ran is shown, and not kept: the machine that this runs on may be busy.
    expect "what the library goes by is what was measured, or nothing where that is not kept" json "$work/out" \
        'all((x[k] is None) if x["measurement"]["kept"].startswith("not kept: other processes") else abs(x[k] / x["measurement"][k] - 1) < 1e-6
             for x in d["devices"] for k in ("projection_gflops", "prefill_gflops", "decode_gbps"))'
    if [ "$(json "$work/out" 'd["devices"][0]["kind"] == "CPU"' && echo CPU)" ]; then
        rm -rf "$work/kept"
        mkdir -m 700 "$work/kept"
        for _ in $(seq $(($(nproc) * 3))); do
            while :; do :; done &
            burners="${burners:-} $!"
        done
        run --measure -d auto --json - --no-probe
        # shellcheck disable=SC2086
        kill $burners
        expect "on a busy machine: measured, and not kept" json "$work/out" \
            'd["devices"][0]["measurement"]["kept"].startswith("not kept: other processes took") and d["devices"][0]["decode_gbps"] is None'
    fi
    unset QKV_CACHE_DIR
fi
QKV_DEVICE=$auto
export QKV_DEVICE
run --no-probe
expect "QKV_DEVICE is reported" has 'QKV_DEVICE' out
QKV_DEVICE=nothing
run --no-probe
expect "a QKV_DEVICE that fits nothing is reported" says 'QKV_DEVICE: device "nothing" fits none' out
unset QKV_DEVICE

finish
