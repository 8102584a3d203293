#!/bin/bash
# Kernels under oclgrind's simulated device, which reports races and accesses outside a buffer:
#   tests/oclgrind.sh BLANCH [SECONDS] [CASE|PROGRAM...]
# A CASE is a file of tests/reference/conformance, without names every layer's; a PROGRAM is a path with a slash and
# perhaps arguments, such as build/tests/test_ops, whose small shapes reach nearly every kernel in a few minutes, or
# 'build/tests/test_conv winograd 4e6'. One line each; `left out` is what takes longer than SECONDS (120). At the end:
# which kernel functions ran, and which in kernels/ did not. Exit status 1 where anything failed or was reported.
# The simulated device is a GPU to Blanch: BLANCH_KIND=cpu gives it the kernels for CPUs, BLANCH_CONV=NAME an engine.
# Kernel caches lie in a scratch folder. oclgrind's --uninitialized does not follow sub-buffers; BLANCH_POISON=1, which
# fills new memory with NaN, takes its place.
set -u
[ $# -ge 1 ] || { sed -n '2,10p' "$0"; exit 2; }
command -v oclgrind > /dev/null || { echo "oclgrind is not installed (Debian: apt-get install oclgrind)"; exit 77; }
blanch=$1 limit=${2:-120} here=$(dirname "$0")
cases=$here/reference/conformance
shift; [ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- $(cd "$cases" && ls | grep -v '^trace-' | sed 's/\.safetensors$//')
scratch=$(mktemp -d) clean=0 wrong=0 left=0
trap 'rm -rf "$scratch"' EXIT
for name in "$@"; do
    case $name in */*) read -ra command <<< "$name" ;; *) command=("$blanch" check "$cases/$name.safetensors") ;; esac
    rm -f "$scratch/log"
    # The counter's own double free ends programs that use CLBlast, or free programs (21.10): again without it.
    for counts in --inst-counts ''; do
        XDG_CACHE_HOME=$scratch/cache BLANCH_POISON=1 BLANCH_DEVICE=Oclgrind BLANCH_TUNE=0 timeout "$limit" \
            oclgrind --data-races $counts --log "$scratch/log" "${command[@]}" > "$scratch/out" 2>&1
        status=$?
        [ $status -gt 128 ] || grep -q 'double free' "$scratch/out" || break
    done
    sed -n "s/^Instructions executed for kernel '\(.*\)':/\1/p" "$scratch/out" >> "$scratch/ran"
    if [ -s "$scratch/log" ]; then
        echo "$name: reported"; head -20 "$scratch/log"; wrong=$((wrong + 1))
    elif [ $status -eq 124 ]; then
        echo "$name: left out, longer than $limit s"; left=$((left + 1))
    elif [ $status -ne 0 ]; then
        echo "$name: exit status $status"; grep -v '^ *[0-9]* - ' "$scratch/out" | tail -5; wrong=$((wrong + 1))
    else
        echo "$name: clean"; clean=$((clean + 1))
    fi
done
grep -rhoE '^(__)?kernel .*void [a-z_0-9]+' "$here/../kernels" | sed 's/.* //' | sort -u > "$scratch/known"
sort -u "$scratch/ran" > "$scratch/names"
echo "ran: $(tr '\n' ' ' < "$scratch/names")"
echo "did not run: $(comm -23 "$scratch/known" "$scratch/names" | tr '\n' ' ')"
echo "$clean clean, $wrong wrong, $left left out"
[ $wrong -eq 0 ]
