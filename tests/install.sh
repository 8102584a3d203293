#!/usr/bin/env bash
# Installs into an empty folder; builds programs against the installed header and blanch.pc alone, and runs those that
# begin with api: tests/install.sh BUILD_FOLDER PROGRAM.c...
set -euo pipefail
build=$1
shift
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
DESTDIR=$root meson install -C "$build" --no-rebuild --quiet
pc=$(find "$root" -name blanch.pc)
[[ -n $pc ]] || { echo "blanch.pc is not installed"; exit 1; }
# no other package is to be found: programs need none
export PKG_CONFIG_LIBDIR=${pc%/*} PKG_CONFIG_PATH='' PKG_CONFIG_SYSROOT_DIR=$root
library=$(find "${pc%/pkgconfig/*}" -maxdepth 1 -name 'libblanch.so' -o -name 'libblanch.dylib' | head -1)
header=$(find "$root" -name blanch.h)
read -r -a flags <<<"${CFLAGS:-} $(pkg-config --cflags --libs blanch)"
for source in "$@"; do
  "${CC:-cc}" -std=c11 -Wall -Wextra -Werror "$source" -o "$root/$(basename "$source" .c)" "${flags[@]}" -lm
done

# the header is C++ too
if command -v "${CXX:-g++}" >/dev/null; then
  printf '#include <blanch/blanch.h>\nint main() { return blanch_version()[0] == 0; }\n' >"$root/header.cpp"
  "${CXX:-g++}" -std=c++11 -Wall -Wextra -Werror -pedantic "$root/header.cpp" -o "$root/header" "${flags[@]}"
  LD_LIBRARY_PATH=${library%/*} DYLD_LIBRARY_PATH=${library%/*} "$root/header"
else
  echo "no C++ compiler: the header is not held against one"
fi

# what is exported is what the header declares
if command -v nm >/dev/null && [[ $library == *.so ]]; then
  nm -D --defined-only "$library" | awk '{print $NF}' | sed 's/@.*//' | grep -vx '_init\|_fini' | sort >"$root/exported"
  sed 's,//.*,,' "$header" "${header%/*}/definition.h" | grep -v '^ \*\|^/\*\|^#' | grep -o '\bblanch_[a-z0-9_]*(' |
    tr -d '(' | sort -u >"$root/declared"
  diff "$root/declared" "$root/exported" || { echo "exported (>) and declared (<) symbols differ"; exit 1; }
  # it has no means to print or exit
  if nm -D --undefined-only "$library" | awk '{print $NF}' | sed 's/@.*//' |
    grep -x '_\{0,2\}v\{0,1\}f\{0,1\}printf\(_chk\)\{0,1\}\|puts\|putchar\|perror\|stdout\|stderr\|_\{0,1\}exit'; then
    echo "the library prints or exits"
    exit 1
  fi
fi

for program in "$root"/api*; do
  LD_LIBRARY_PATH=${library%/*} DYLD_LIBRARY_PATH=${library%/*} "$program" "$root/$(basename "$program").out"
done
