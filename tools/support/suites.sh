# What tools/run-checks and tools/check-all share: to be sourced by them. They set `logs`, a folder, and `table`, a file.
export BUILD="${BUILD:-build}" QKV_TEST_MODEL="${QKV_TEST_MODEL:-build/model}"
export LC_ALL=C
timeout_s=${CHECK_TIMEOUT:-600}
passed=0 failed=0 skipped=0 culprits=
# What the caller's shell prefers is not what is tested.
unset QKV_SOLVER QKV_GEMM QKV_LIMITS QKV_CACHE_SIZE QKV_TEST_SEED CK_RUN_SUITE CK_RUN_CASE
# Nothing is kept from one run to the next, nor in the caller's home.
export QKV_CACHE_DIR=

# Suites that touch no OpenCL, or bring their own choice of it, run once; these need what a simulator has not
# (hours of patience).
once='core store store_sharing store_trim npy safetensors tokenizer model_files devices_tool devices_options devices_drivers devices_loader check_all run_checks readme install docs structure'
not_simulated='attend attend_tool queues threads clblast'
# These are left to make check-all: what drivers do wrong, on other implementations than the first, and what takes a
# simulator a minute and is tried there by random problems too.
first_only='lies lies_launches lies_steps lies_cache cache_crash faults'
seldom_simulated='equivalences masks past'
# The ones that take longest begin first, so that none is left to run alone at the end.
long='lies lies_launches equivalences semantics attention faults cache_crash devices_drivers masks linear contract clblast'

given_vendors=${OCL_ICD_VENDORS:-}
system_vendors=${SYSTEM_VENDORS:-/etc/OpenCL/vendors} # a variable for the tests' sake

contains() { case " $1 " in *" $2 "*) return 0 ;; esac; return 1; }

# An implementation is a folder with one .icd file: that form works for every loader.
icd_folder() { # NAME LIBRARY
    folder=$BUILD/icd-$1
    mkdir -p "$folder"
    echo "$2" >"$folder/$1.icd"
    (cd "$folder" && pwd)
}

vendors() { # the .icd files of the caller's OCL_ICD_VENDORS (a folder, a file or a library), else the system's
    if [ -n "$given_vendors" ] && [ ! -d "$given_vendors" ]; then
        echo "$given_vendors"
    else
        ls "${given_vendors:-$system_vendors}"/*.icd 2>/dev/null || true
    fi
}

vendor_library() { # FILE: loaders take a library's name as well
    case $1 in *.icd) cat "$1" 2>/dev/null || true ;; *) echo "$1" ;; esac
}

implementation_name() { # FILE: what we call it
    case $(vendor_library "$1") in
    *pocl*) echo pocl ;;
    *[Rr]usticl*) echo rusticl ;;
    *oclgrind*) echo oclgrind ;;
    *) basename "$1" .icd ;;
    esac
}

icd_library() { # NAME: the library of an implementation that is known
    for file in $(vendors) "$system_vendors"/*.icd; do
        [ ! -r "$file" ] || [ "$(implementation_name "$file")" != "$1" ] || { vendor_library "$file"; return; }
    done
}

oclgrind_library() {
    for file in $(dpkg-query -L oclgrind 2>/dev/null | grep 'oclgrind-rt-icd\.so$') \
        /usr/lib/oclgrind/liboclgrind-rt-icd.so /usr/local/lib/liboclgrind-rt-icd.so; do
        [ ! -e "$file" ] || { echo "$file"; return; }
    done
}

# What an implementation needs, and how large its tests are: implementations that are slow get reduced sizes.
enter_implementation() { # NAME LIBRARY [SCALE of one that is fast]
    OCL_ICD_VENDORS=$(icd_folder "$1" "$2") QKV_TEST_SCALE=${3:-1}
    export OCL_ICD_VENDORS QKV_TEST_SCALE
    case $1 in
    rusticl) export RUSTICL_ENABLE="${RUSTICL_ENABLE:-llvmpipe}" QKV_TEST_SCALE="${RUSTICL_SCALE:-0.2}" ;;
    oclgrind)
        # One process a suite and log: each process that opens the log empties it.
        # OCLGRIND_UNINITIALIZED stays off: that check stops at LLVM's "freeze" (21.10) and gives wrong results.
        export OCLGRIND_DATA_RACES=1 CK_FORK=no QKV_TEST_SCALE="${OCLGRIND_SCALE:-0.05}"
        ;;
    esac
}

leave_implementation() { unset OCLGRIND_DATA_RACES CK_FORK QKV_TEST_SCALE; }

# What the tests say of the device that they take here: "device: NAME; PLATFORM; ...; test scale N"; nothing without one.
device_line() {
    # A driver that hangs is one without a device.
    ! command -v timeout >/dev/null || set -- timeout --kill-after=10 60
    [ ! -x "$BUILD/tests/test_scale" ] ||
        "$@" "$BUILD/tests/test_scale" 2>/dev/null </dev/null 9>&- | sed -n '/^device: /{p;q;}'
}

# Tests of the size given, where none is given of what suits the device: nobody has seen this one.
take_scale() { # DEVICE-LINE [SCALE]
    QKV_TEST_SCALE=${2:-$(echo "$1" | sed -n 's/.*; test scale \([0-9.]*\)$/\1/p')}
    export QKV_TEST_SCALE
    [ -n "$QKV_TEST_SCALE" ] || unset QKV_TEST_SCALE
}

# An implementation is slow like a simulator, whatever it is called, where tests get less than a fifth of their size.
simulates() { # IMPLEMENTATION
    case $1 in
    pocl | rusticl) return 1 ;;
    oclgrind*) return 0 ;;
    *) [ "$(echo "${QKV_TEST_SCALE:-1}" | awk '{print ($1 > 0 && $1 < 0.2)}')" = 1 ] ;;
    esac
}

long_first() { # FILE...
    for file in "$@"; do ! contains "$long" "$(suite_name "$file")" || echo "$file"; done
    for file in "$@"; do contains "$long" "$(suite_name "$file")" || echo "$file"; done
}

suite_name() { # FILE
    name=$(basename "$1" .sh)
    name=${name#test_}
    echo "${name#check-}"
}

# ---- several suites at a time ----
# start_suite() waits for a free place and leaves; rows are told in the order of starting, so the table stays in order.
# Who sources this may define told(), which is called after each row: good, bad, skips and seconds are of that suite.
running= # LABEL:SUITE:PROCESS of what was started and is not told yet
good=0 bad=0 skips=0 seconds=0
told() { :; } # LABEL SUITE

open_places() { # N
    rm -f "$logs/places"
    mkfifo "$logs/places"
    exec 9<>"$logs/places"
    rm -f "$logs/places"
    place=0
    while [ "$place" -lt "$1" ]; do
        echo >&9
        place=$((place + 1))
    done
    trap 'stop_suites; exit 130' INT TERM HUP
}

processors() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

stop_suites() {
    for entry in $running; do kill "${entry##*:}" 2>/dev/null || true; done
}

start_suite() { # LABEL SUITE FILE: with the environment as it is now
    read -r _ <&9
    tell_suites
    rm -f "$logs/$1-$2.result"
    (
        trap 'echo >&9' EXIT
        run_suite "$@"
    ) &
    running="$running $1:$2:$!"
}

skip_suite() { # LABEL SUITE WHY
    echo "skipped 0 1 0 $3" >"$logs/$1-$2.result"
    running="$running $1:$2:-"
}

tell_suites() { # those that ended, up to the first that did not
    for entry in $running; do
        suite_of=${entry#*:}
        [ -e "$logs/${entry%%:*}-${suite_of%:*}.result" ] || return 0
        tell_suite "${entry%%:*}" "${suite_of%:*}"
        running=${running# "$entry"}
    done
}

finish_suites() {
    for entry in $running; do
        [ "${entry##*:}" = - ] || wait "${entry##*:}" || true
        tell_suites
    done
}

# Leaves a .result: passed, failed, skipped, seconds, what is wrong.
run_suite() { # LABEL SUITE FILE
    log=$logs/$1-$2.txt result=$logs/$1-$2.result
    unset OCLGRIND_LOG
    # Oclgrind tells what it found in a file, not by its exit status.
    if [ "${1%%-*}" = oclgrind ]; then
        OCLGRIND_LOG=$(cd "$logs" && pwd)/$1-$2.oclgrind
        export OCLGRIND_LOG
    fi
    export QKV_TEST_WORK="$BUILD/work/$1-$2" # suites in shell write here, since several may run at a time
    case $3 in */*) set -- "$3" ;; *) set -- "./$3" ;; esac
    # A suite that hangs is a failure, not a wait.
    ! command -v timeout >/dev/null || set -- timeout --kill-after=10 "$timeout_s" "$@"
    begin=$(date +%s) status=0
    "$@" >"$log" 2>&1 </dev/null 9>&- &
    child=$!
    trap 'kill "$child" 2>/dev/null; exit 143' TERM
    wait "$child" || status=$?
    judge_suite "$status" "$(($(date +%s) - begin))" >"$result.new"
    mv "$result.new" "$result"
}

# Adds up "100%: Checks: 7, Failures: 0, Errors: 0", as Check writes it, and the lines that begin with "skip:".
judge_suite() { # STATUS SECONDS; the suite's log is $log
    status=$1 took=$2
    # shellcheck disable=SC2046
    set -- $(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$log" |
        awk '{c += $1; f += $2 + $3} END {print c + 0, f + 0}')
    good=$(($1 - $2)) bad=$2
    skips=$(grep -c '^skip:' "$log" || true)
    why=
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        why="stopped after $timeout_s s"
    elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        why="exit status $status"
    elif [ "$status" = 0 ] && [ "$1" = 0 ]; then
        why="ran no test"
    fi
    [ -z "$why" ] || bad=$((bad + 1))
    if [ -n "${OCLGRIND_LOG:-}" ] && [ -s "$OCLGRIND_LOG" ]; then
        why="${why:+$why; }Oclgrind found errors: $OCLGRIND_LOG"
        bad=$((bad + 1))
    fi
    echo "$good $bad $skips $took $why"
}

row() { printf '%-14s %-22s %7s %7s %8s %8s\n' "$@" | tee -a "$table"; }

tell_suite() { # LABEL SUITE
    log=$logs/$1-$2.txt found=$logs/$1-$2.oclgrind
    read -r good bad skips seconds why <"$logs/$1-$2.result"
    if [ "$good" = skipped ]; then
        good=0
        row "$1" "$2 ($why)" - - "$skips" -
    else
        row "$1" "$2" "$good" "$bad" "$skips" "$seconds"
    fi
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skips))
    if [ "$bad" != 0 ]; then
        culprits="$culprits $log"
        echo "  ${why:-failed}; $log says:"
        grep -E ':[FE]:|: error|ERROR|Sanitizer|runtime error|fail' "$log" | head -n 8 |
            cut -c 1-400 | sed 's/^/    /'
        [ -z "$why" ] || tail -n 5 "$log" | sed 's/^/    | /'
        [ ! -s "$found" ] || head -n 20 "$found" | sed 's/^/    | /'
    fi
    told "$1" "$2"
}
