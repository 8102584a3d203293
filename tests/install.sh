#!/usr/bin/env bash
# Installs into an empty folder and builds a program against the installed header and blanch.pc:
# tests/install.sh BUILD_FOLDER PROGRAM.c
set -euo pipefail
build=$1 program=$2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet
pc=$(find "$root" -name blanch.pc)
[[ -n $pc ]] || { echo "blanch.pc is not installed"; exit 1; }
export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$root
library=$(find "$root" -name 'libblanch.so' -o -name 'libblanch.dylib' | head -1)
read -r -a flags <<<"${CFLAGS:-} $(pkg-config --cflags --libs blanch)"
"${CC:-cc}" -std=c11 -Wall -Wextra -Werror -D_DEFAULT_SOURCE "$program" -o "$root/program" "${flags[@]}" -lm
LD_LIBRARY_PATH=${library%/*} DYLD_LIBRARY_PATH=${library%/*} "$root/program" "$root/weights.safetensors"
