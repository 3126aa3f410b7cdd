#!/usr/bin/env bash
# Runs every fuzz target of every module, two at a time, and shows the output of those that found something.
#
#   deploy/scripts/fuzz.sh TIME      TIME for each, as go test -fuzztime takes it
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=local GOWORK=off
lanes=2

# targets TIME: "module package target TIME" lines.
targets() {
    local module
    for module in $(deploy/scripts/modules.sh); do
        { grep -rno --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]*' "$module" || true; } |
            sed -E "s,^$module/(.*)/[^/]*:[0-9]+:func (.*)\$,$module ./\\1 \\2 $1,"
    done | sort -u
}

# one MODULE PACKAGE TARGET TIME: runs one target. A fuzzer that found something names the file of the input. It also fails at
# its own time limit, which is none, and when its worker was killed (the machine ran out of memory), which gets a second try.
# No time goes into making inputs smaller: it would be most of the time, up to a minute for each.
one() {
    local out try
    for try in 1 2; do
        if out=$(go -C "$1" test -run '^$' -parallel 1 -fuzz "^$3\$" -fuzztime "$4" -fuzzminimizetime 1x "$2" 2>&1 </dev/null) ||
            { grep -q 'context deadline exceeded' <<<"$out" && ! grep -q 'Failing input' <<<"$out"; }; then
            echo pass >>"$MERO_FUZZ_RESULTS"
            echo "--- PASS: fuzz/$3 ($1 $2, $(grep -o 'execs: [0-9]*' <<<"$out" | tail -n 1))"
            return
        fi
        if [ "$try" = 2 ] || ! grep -q 'terminated by unexpected signal' <<<"$out"; then break; fi
        printf '%s\nfuzz/%s (%s %s): its worker was killed, once more\n' "$out" "$3" "$1" "$2"
    done
    echo fail >>"$MERO_FUZZ_RESULTS"
    printf '%s\n--- FAIL: fuzz/%s (%s %s; the input is in its testdata/fuzz)\n' "$out" "$3" "$1" "$2"
    return 1
}
export -f one

MERO_FUZZ_RESULTS=$(mktemp)
export MERO_FUZZ_RESULTS
trap 'rm -f "$MERO_FUZZ_RESULTS"' EXIT

list=$(targets "$1")
[ -n "$list" ] || { echo "there are no fuzz targets"; exit 1; }
count=$(wc -l <<<"$list")
echo "== fuzz: $count targets for $1 each"
# shellcheck disable=SC2016 # the words are for the inner shell
xargs -P "$lanes" -L 1 bash -c 'one "$@"' _ <<<"$list" || true # counted below
passed=$(grep -c pass "$MERO_FUZZ_RESULTS" || true)
printf '\n%d passed, %d failed\n' "$passed" $((count - passed)) # a target that left no result has failed, too
[ "$passed" = "$count" ]
