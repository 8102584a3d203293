#!/bin/bash
# Conformance cases under oclgrind's simulated device, which reports races and accesses outside a buffer:
#   tests/oclgrind.sh BLANCH [SECONDS] [CASE...]
# One line a case; `left out` is one that takes longer than SECONDS (120). Exit status 1 where a case failed or oclgrind reported
# anything. Without names: every case of a layer in tests/reference/conformance. The simulated device is a GPU to Blanch; kernels for
# CPUs alone and convolution engines chosen by BLANCH_CONV=NAME need a call of their own.
# Kernel caches lie in a scratch folder. oclgrind's --uninitialized does not follow sub-buffers; BLANCH_POISON=1, which fills
# new memory with NaN, takes its place.
set -u
[ $# -ge 1 ] || { sed -n '2,9p' "$0"; exit 2; }
command -v oclgrind > /dev/null || { echo "oclgrind is not installed (Debian: apt-get install oclgrind)"; exit 77; }
blanch=$1 limit=${2:-120} folder=$(dirname "$0")/reference/conformance
shift; [ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(cd "$folder" && ls | grep -v '^trace-' | sed 's/\.safetensors$//')
scratch=$(mktemp -d) clean=0 wrong=0 left=0
trap 'rm -rf "$scratch"' EXIT
for name in "$@"; do
    rm -f "$scratch/log"
    XDG_CACHE_HOME=$scratch/cache BLANCH_POISON=1 BLANCH_DEVICE=Oclgrind timeout "$limit" \
        oclgrind --data-races --log "$scratch/log" "$blanch" check "$folder/$name.safetensors" > "$scratch/out" 2>&1
    status=$?
    if [ -s "$scratch/log" ]; then
        echo "$name: reported"; head -20 "$scratch/log"; wrong=$((wrong + 1))
    elif [ $status -eq 124 ]; then
        echo "$name: left out, longer than $limit s"; left=$((left + 1))
    elif [ $status -ne 0 ]; then
        echo "$name: exit status $status"; head -3 "$scratch/out"; wrong=$((wrong + 1))
    else
        echo "$name: clean"; clean=$((clean + 1))
    fi
done
echo "$clean clean, $wrong wrong, $left left out"
[ $wrong -eq 0 ]
