#!/usr/bin/env bash
# Prints the figures that the design promises, as ratios with target and denominator from one run (about four
# minutes), then, with MERO_BENCH=all, every benchmark of every module.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=local GOWORK=off
deploy/scripts/packages.sh test
echo "== bench: the gate against what it may cost (about four minutes; a million keys are made first)"
CGO_ENABLED=0 go -C services/auth test -count=1 -run '^TestRatios$' -v -timeout 30m ./internal/bench -ratios | grep -v -e '^=== ' -e '^PASS$'
echo "== bench: the node against what it may cost (blobs of 1 GiB go up and down)"
go -C services/node test -count=1 -run '^TestRatios$' -v -timeout 30m ./internal/bench -ratios | grep -v -e '^=== ' -e '^PASS$'
echo "== bench: the node's events, from the commit to the last of 1 000 subscribers (500 WebSocket, 500 SSE)"
go -C services/node test -count=1 -run '^$' -bench '^BenchmarkFanOut1000$' -benchtime 500x -timeout 10m ./internal/stream | grep '^Benchmark'
[ "${MERO_BENCH:-}" = all ] || { echo "MERO_BENCH=all make bench runs every benchmark of every package too."; exit 0; }
for module in $(deploy/scripts/modules.sh); do
    echo "== bench: $module"
    go -C "$module" test -run '^$' -bench . -benchmem -timeout 60m ./... | grep -v -e '\[no test files\]$' -e '^PASS$'
done
