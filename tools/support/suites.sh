# What tools/run-checks and tools/check-all share: to be sourced by them. They set `logs`, a folder, and `table`, a file.
export BUILD="${BUILD:-build}" QKV_TEST_MODEL="${QKV_TEST_MODEL:-build/model}"
export LC_ALL=C
timeout_s=${CHECK_TIMEOUT:-300}
passed=0 failed=0 skipped=0 culprits=
# What the caller's shell prefers is not what is tested.
unset QKV_SOLVER QKV_GEMM QKV_LIMITS QKV_CACHE_SIZE QKV_TEST_SEED CK_RUN_SUITE CK_RUN_CASE
# Nothing is kept from one run to the next, nor in the caller's home.
export QKV_CACHE_DIR=

# Suites that touch no OpenCL, or bring their own choice of it, run once; these need what a simulator has not
# (hours of patience).
once='core store store_sharing npy safetensors tokenizer model_files devices_tool devices_drivers readme install docs structure'
not_simulated='attend attend_tool queues threads clblast'

contains() { case " $1 " in *" $2 "*) return 0 ;; esac; return 1; }

# An implementation is a folder with one .icd file: that form works for every loader.
icd_folder() { # NAME LIBRARY
    folder=$BUILD/icd-$1
    mkdir -p "$folder"
    echo "$2" >"$folder/$1.icd"
    (cd "$folder" && pwd)
}

icd_library() { # PATTERN: the library an installed .icd file names
    for file in /etc/OpenCL/vendors/*.icd; do
        # shellcheck disable=SC2254
        [ ! -r "$file" ] || case $(cat "$file") in $1) cat "$file"; return ;; esac
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
        # One process a suite: each process that opens the log empties it.
        # OCLGRIND_UNINITIALIZED stays off: that check stops at LLVM's "freeze" (21.10) and gives wrong results.
        export OCLGRIND_DATA_RACES=1 CK_FORK=no QKV_TEST_SCALE="${OCLGRIND_SCALE:-0.05}"
        ;;
    esac
}

leave_implementation() { unset OCLGRIND_DATA_RACES OCLGRIND_LOG QKV_TEST_SCALE; }

suite_name() { # FILE
    name=$(basename "$1" .sh)
    name=${name#test_}
    echo "${name#check-}"
}

# Oclgrind tells what it found in a file, not by its exit status.
watch_suite() { # IMPLEMENTATION SUITE FILE
    unset OCLGRIND_LOG
    if [ "${1%%-*}" = oclgrind ]; then
        OCLGRIND_LOG=$(cd "$logs" && pwd)/$1-$2.oclgrind
        export OCLGRIND_LOG
    fi
    case $3 in
    */*) run_suite "$1" "$2" "$3" ;;
    *) run_suite "$1" "$2" "./$3" ;;
    esac
}

limited() { # a suite that hangs is a failure, not a wait
    if command -v timeout >/dev/null; then
        timeout --kill-after=10 "$timeout_s" "$@"
    else
        "$@"
    fi
}

row() { printf '%-14s %-22s %7s %7s %8s %8s\n' "$@" | tee -a "$table"; }

# Adds up "100%: Checks: 7, Failures: 0, Errors: 0", as Check writes it, and the lines that begin with "skip:".
run_suite() { # IMPLEMENTATION SUITE COMMAND...
    implementation=$1 suite=$2
    shift 2
    log=$logs/$implementation-$suite.txt
    begin=$(date +%s)
    status=0
    limited "$@" >"$log" 2>&1 </dev/null || status=$?
    seconds=$(($(date +%s) - begin))
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
    passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + skips))
    row "$implementation" "$suite" "$good" "$bad" "$skips" "$seconds"
    if [ "$bad" != 0 ]; then
        culprits="$culprits $log"
        echo "  ${why:-failed}; $log says:"
        grep -E ':[FE]:|: error|ERROR|Sanitizer|runtime error|fail' "$log" | head -n 8 |
            cut -c 1-400 | sed 's/^/    /'
        [ -z "$why" ] || tail -n 5 "$log" | sed 's/^/    | /'
        [ ! -s "${OCLGRIND_LOG:-/dev/null}" ] || head -n 20 "$OCLGRIND_LOG" | sed 's/^/    | /'
    fi
}
