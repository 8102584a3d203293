#!/bin/sh
# The conformance files on the default device: conformance.sh BLANCH DIR. Skips (77) where there is no OpenCL device,
# fails where CI is set.
"$1" devices > /dev/null 2>&1 || { echo "no OpenCL device"; [ -n "$CI" ] && exit 1; exit 77; }
exec "$1" check "$2"
