#!/bin/sh
# The conformance files on the default device: conformance.sh BLANCH DIR. Skips (77) where there is no OpenCL device,
# fails where CI is set.
[ $# -eq 2 ] || { echo "usage: conformance.sh BLANCH DIR" >&2; exit 2; }
"$1" devices > /dev/null 2>&1 || { echo "no OpenCL device"; [ -n "$CI" ] && exit 1; exit 77; }
# Programs are kept in PoCL's own cache alone: see keep_no_programs in harness.h.
export POCL_CACHE_DIR="${POCL_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pocl/kcache}" XDG_CACHE_HOME=/dev/null
exec "$1" check "$2"
