#!/bin/sh
# `make install` as a user of the library sees it: what is put where, programs in C and C++ built against it with
# pkg-config and with CMake, shared and static, the man pages, and `make uninstall`.
# Environment: BUILD, CC, CXX, MAKE, PKG_CONFIG, SANITIZE.
set -u
build=${BUILD:-build} cc=${CC:-cc} cxx=${CXX:-c++} pkg_config=${PKG_CONFIG:-pkg-config}
# What the make that runs the tests was told is not for this one.
unset MAKEFLAGS MAKELEVEL MFLAGS DESTDIR PREFIX LIBDIR INCLUDEDIR BINDIR MANDIR

suite=install
# shellcheck source=tests/support/checks.sh
. tests/support/checks.sh
finish() {
    echo "$((checks ? (checks - failures) * 100 / checks : 0))%: Checks: $checks, Failures: $failures, Errors: 0"
    [ "$failures" = 0 ]
    exit
}
have() { command -v "$1" >/dev/null 2>&1; }

work=$build/install
rm -rf "$work"
mkdir -p "$work"
work=$(cd "$work" && pwd)
prefix=$work/prefix
stage=$work/stage
version=$(sed -n 's/.*QKV_VERSION_STRING "\(.*\)"/\1/p' include/qkv/version.h)
case $(uname -s) in
Darwin) linux='' link=libqkv.dylib path=DYLD_LIBRARY_PATH ;;
*) linux=yes link=libqkv.so path=LD_LIBRARY_PATH ;;
esac

# Warnings in this file's functions are about check() calling them.
# shellcheck disable=SC2317
made() { # ARGUMENT...
    "${MAKE:-make}" --no-print-directory BUILD="$build" CC="$cc" SANITIZE="${SANITIZE:-}" "$@"
}
listed() { (cd "$1" && find . ! -type d | sed 's|^\./||' | LC_ALL=C sort); } # FOLDER: its files and links

# ---- what is put where ----
# shellcheck disable=SC2317
exactly() { # FOLDER LIBDIR: holds what install lists, nothing else
    {
        (cd include && find . -name '*.h' | sed 's|^\.|include|')
        printf '%s\n' "$2/libqkv.a" "$2/pkgconfig/qkv.pc" "$2/cmake/qkv/qkv-config.cmake" \
            "$2/cmake/qkv/qkv-config-version.cmake" "$2/$link"
        [ -z "$linux" ] || printf '%s\n' "$2/libqkv.so.$version" "$2/libqkv.so.${version%.*}"
        [ -n "$linux" ] || printf '%s\n' "$2/libqkv.$version.dylib" "$2/libqkv.${version%.*}.dylib"
        for tool in $tools; do
            printf 'bin/%s\nshare/man/man1/%s.1\n' "$tool" "$tool"
        done
    } | LC_ALL=C sort >"$work/expected"
    listed "$1" | diff "$work/expected" -
}
# shellcheck disable=SC2317
says() { grep -qxF -e "$2" "$1" || { cat "$1"; return 1; }; } # FILE LINE
# shellcheck disable=SC2317
unnamed() { ! grep -rI -e "$2" "$1"; } # FOLDER TEXT: no text file mentions it

# Which tools there are depends on the libraries they need.
tools=$(made -n install PREFIX="$prefix" | sed -n 's/^ *for tool in \(.*\); do.*/\1/p')
case $tools in *qkv-*) ;; *) skip "tools and their man pages: each needs libraries and pkg-config" ;; esac
check "make install PREFIX=..." made install PREFIX="$prefix"
[ "$failures" = 0 ] || finish
check "exactly what it lists is there" exactly "$prefix" lib
check "make install DESTDIR=... PREFIX=/opt/qkv LIBDIR=/opt/qkv/lib64" \
    made install DESTDIR="$stage" PREFIX=/opt/qkv LIBDIR=/opt/qkv/lib64
check "everything is below DESTDIR and PREFIX" exactly "$stage/opt/qkv" lib64
check "nothing is beside them" test "$(ls "$stage")" = opt
check "a staged qkv.pc says PREFIX" says "$stage/opt/qkv/lib64/pkgconfig/qkv.pc" 'prefix=/opt/qkv'
# shellcheck disable=SC2016
check "and LIBDIR in terms of it" says "$stage/opt/qkv/lib64/pkgconfig/qkv.pc" 'libdir=${prefix}/lib64'
check "no file names DESTDIR" unnamed "$stage" "$stage"
check "no file has a mark that was not filled in" unnamed "$stage" '@[A-Z_]*@'

# ---- the shared library ----
# shellcheck disable=SC2317
foreign_exports() { ! nm -D --defined-only "$1" | awk '{print $NF}' | grep -v '^qkv_'; }
# shellcheck disable=SC2317
dynamic() { LC_ALL=C objdump -p "$1" | awk -v tag="$2" '$1 == tag {print $2}'; } # FILE TAG: its values
# shellcheck disable=SC2317
soname_is() { [ "$(dynamic "$1" SONAME)" = "$2" ]; }
# shellcheck disable=SC2317
resolves() { [ "$(cd "$prefix/lib" && readlink "$1")" = "$2" ]; }
if [ -n "$linux" ]; then
    check "soname: libqkv.so.${version%.*}" soname_is "$prefix/lib/$link" "libqkv.so.${version%.*}"
    check "libqkv.so leads to the soname" resolves libqkv.so "libqkv.so.${version%.*}"
    check "the soname leads to the file" resolves "libqkv.so.${version%.*}" "libqkv.so.$version"
    check "only qkv_* is exported" foreign_exports "$prefix/lib/$link"
else
    skip "soname and exports: looked at on ELF systems only"
fi

# ---- a program against it, with pkg-config ----
# Valid as C and as C++. It is run from another folder: the kernels are in the library.
cat >"$work/consumer.c" <<'END'
#include <qkv.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    const float x[4] = {1, 2, 3, 4}, weight[4] = {1, 0, 1, -1};
    float y[4] = {0, 0, 0, 0};
    qkv_context *context = NULL;
    if (strcmp(qkv_version_string(), QKV_VERSION_STRING) != 0) return 2;
    if (qkv_context_create(&context, NULL, NULL) != QKV_OK ||
        qkv_host_linear(y, context, x, 2, 2, weight, 2, QKV_WEIGHT_OUT_IN, NULL) != QKV_OK) {
        fprintf(stderr, "%s\n", qkv_error_message());
        return 3;
    }
    qkv_context_destroy(context);
    return y[0] == 1 && y[1] == -1 && y[2] == 3 && y[3] == -1 ? 0 : 4;
}
END
cp "$work/consumer.c" "$work/consumer.cpp"
mkdir -p "$work/archive"
cp "$prefix/lib/libqkv.a" "$work/archive/"

pc() { PKG_CONFIG_PATH=$prefix/lib/pkgconfig "$pkg_config" "$@"; }
# Word splitting is meant for the lists of flags.
# shellcheck disable=SC2046,SC2086,SC2317
build_shared() { # PROGRAM COMPILER SOURCE
    $2 -Wall -Wextra -Wpedantic -Werror ${SANITIZE:-} -o "$1" "$3" $(pc --cflags --libs qkv)
}
# A linker prefers the shared library where both lie: the archive alone is what a static build sees.
# shellcheck disable=SC2046,SC2086,SC2317
build_static() { # PROGRAM COMPILER SOURCE
    $2 -Wall -Wextra -Wpedantic -Werror ${SANITIZE:-} -o "$1" "$3" \
        $(pc --define-variable=libdir="$work/archive" --static --cflags --libs qkv)
}
# shellcheck disable=SC2317
run_shared() { (cd / && env "$path=$prefix/lib" "$1"); }
# shellcheck disable=SC2317
run_alone() { (cd / && "$@"); }
# shellcheck disable=SC2317
needs() { [ -z "$linux" ] || dynamic "$1" NEEDED | grep -q "$2"; } # PROGRAM LIBRARY
# shellcheck disable=SC2317
needs_not() { ! dynamic "$1" NEEDED | grep "$2"; }
# shellcheck disable=SC2317
private_stay_private() { ! pc --libs qkv | grep -e 'OpenCL' -e '-lm' -e '-ldl'; }
# shellcheck disable=SC2317
static_has_all() { pc --static --libs qkv | grep 'OpenCL' | grep -e '-lm' | grep -q -e '-pthread'; }

if have "$pkg_config"; then
    check "pkg-config knows version $version" test "$(pc --modversion qkv)" = "$version"
    check "pkg-config --libs leaves private libraries out" private_stay_private
    check "pkg-config --static --libs has them" static_has_all
    for language in c c++; do
        compiler="$cc -std=c11" source=consumer.c
        [ "$language" = c ] || compiler="$cxx -std=c++11" source=consumer.cpp
        have "${compiler%% *}" || { skip "programs in $language: no ${compiler%% *}"; continue; }
        check "pkg-config, $language: shared links" build_shared "$work/$language-shared" "$compiler" "$work/$source"
        check "pkg-config, $language: it uses the shared library" needs "$work/$language-shared" libqkv
        check "pkg-config, $language: it runs" run_shared "$work/$language-shared"
        check "pkg-config, $language: static links" build_static "$work/$language-static" "$compiler" "$work/$source"
        [ -z "$linux" ] ||
            check "pkg-config, $language: nothing of it is shared" needs_not "$work/$language-static" libqkv
        check "pkg-config, $language: static runs" run_alone "$work/$language-static"
    done
else
    skip "pkg-config: $pkg_config is not installed"
fi

# ---- man pages and tools ----
# shellcheck disable=SC2317
renders() { # PAGE: no renderer at hand has anything to say on standard error
    if have man && man --version >/dev/null 2>&1; then
        LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -l "$1" 2>&1 >/dev/null | grep . && return 1
    fi
    if have groff; then groff -man -ww -z -Tascii "$1" 2>&1 | grep . && return 1; fi
    if have mandoc; then mandoc -T lint -W warning "$1" || return 1; fi
    return 0
}
# shellcheck disable=SC2317
tells_all() { # TOOL PAGE: each option that --help names
    for option in $("$1" --help | grep -oE -e '--[a-z][a-z-]+' | sort -u); do
        sed 's/\\-/-/g' "$2" | grep -qe "$option" || { echo "$option is not in $2"; return 1; }
    done
}
have man || have groff || have mandoc || skip "rendering man pages: neither man nor groff nor mandoc"
for tool in $tools; do
    page=$prefix/share/man/man1/$tool.1
    check "$tool runs where it was put" run_alone "$prefix/bin/$tool" --help
    check "$tool.1 renders without a warning" renders "$page"
    check "$tool.1 has every option of --help" tells_all "$prefix/bin/$tool" "$page"
done

# ---- uninstalling, and CMake in a tree that was moved ----
cp -R "$prefix" "$work/moved"
echo foreign >"$prefix/include/qkv/foreign.h"
check "make uninstall" made uninstall PREFIX="$prefix"
check "it leaves what it did not install, and nothing else" test "$(listed "$prefix")" = include/qkv/foreign.h
check "make uninstall with DESTDIR" made uninstall DESTDIR="$stage" PREFIX=/opt/qkv LIBDIR=/opt/qkv/lib64
check "it leaves no file" test -z "$(listed "$stage")"
check "and no folder called qkv but the prefix" test "$(cd "$stage" && find . -name 'qkv*')" = ./opt/qkv

mkdir -p "$work/project"
cp "$work/consumer.c" "$work/consumer.cpp" "$work/project/"
cat >"$work/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.10)
project(consumer C CXX)
find_package(qkv ${WANTED} REQUIRED)
foreach(kind shared static)
  foreach(language c cpp)
    add_executable(${language}_${kind} consumer.${language})
  endforeach()
endforeach()
foreach(language c cpp)
  target_link_libraries(${language}_shared qkv::qkv)
  target_link_libraries(${language}_static qkv::qkv_static)
endforeach()
END
# shellcheck disable=SC2317
configure() { # VERSION
    rm -rf "$work/project/build"
    cmake -S "$work/project" -B "$work/project/build" -DWANTED="$1" -DCMAKE_PREFIX_PATH="$work/moved" \
        -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_C_FLAGS="${SANITIZE:-}" \
        -DCMAKE_CXX_FLAGS="${SANITIZE:-}"
}
# shellcheck disable=SC2317
refuses() {
    ! configure "$1" >"$work/refusal" 2>&1 && tr -s '\n ' ' ' <"$work/refusal" | grep 'not accepted' && return
    tail -n 20 "$work/refusal"
    return 1
}
if ! have cmake; then
    skip "CMake: cmake is not installed"
elif ! have "$cxx"; then
    skip "CMake: no $cxx"
else
    next=${version%%.*}.$(($(echo "$version" | cut -d . -f 2) + 1))
    for wanted in "${version%.*}.99" "$next" $((${version%%.*} + 1)).0; do
        check "find_package(qkv $wanted) is refused" refuses "$wanted"
    done
    check "find_package(qkv ${version%.*} REQUIRED), in a tree that was moved" configure "${version%.*}"
    check "CMake builds C and C++, shared and static" cmake --build "$work/project/build"
    for program in c_shared cpp_shared c_static cpp_static; do
        check "CMake: $program runs" run_alone "$work/project/build/$program"
    done
    check "CMake: c_shared uses the moved library" needs "$work/project/build/c_shared" libqkv
    [ -z "$linux" ] || check "CMake: c_static does not" needs_not "$work/project/build/c_static" libqkv
fi
finish
