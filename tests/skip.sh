#!/bin/sh
# A test that this build leaves out, in its place: skip.sh REASON. Meson shows it as skipped.
echo "$1"
exit 77
