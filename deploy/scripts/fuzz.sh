#!/usr/bin/env bash
# Runs every fuzz target of every module, one after the other.
#
#   deploy/scripts/fuzz.sh TIME      TIME for each, as go test -fuzztime takes it
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=local GOWORK=off

failed=() count=0
for module in $(deploy/scripts/modules.sh); do
    while read -r package target; do
        echo "== fuzz: $package $target for $1"
        count=$((count + 1))
        go -C "$module" test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$package" </dev/null || failed+=("$target")
    done < <(cd "$module" && grep -rno --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . |
        sed -E 's,^(.*)/[^/]*:[0-9]+:func (.*)$,\1 \2,' | sort -u)
done
[ ${#failed[@]} = 0 ] || { echo "found by: ${failed[*]} (the inputs are in testdata/fuzz)"; exit 1; }
echo "$count fuzz targets, nothing found"
