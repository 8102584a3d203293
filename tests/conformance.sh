#!/bin/sh
# The conformance files on the default device: conformance.sh BLANCH DIR. Skips (77) where there is no OpenCL device.
"$1" devices > /dev/null 2>&1 || { echo "skipped: no OpenCL device"; exit 77; }
exec "$1" check "$2"
