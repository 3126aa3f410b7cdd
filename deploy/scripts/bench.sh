#!/usr/bin/env bash
# Runs every benchmark of every module.
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=local GOWORK=off
for module in $(deploy/scripts/modules.sh); do
    echo "== bench: $module"
    go -C "$module" test -run '^$' -bench . -benchmem -timeout 60m ./... | grep -v -e '\[no test files\]$' -e '^PASS$'
done
