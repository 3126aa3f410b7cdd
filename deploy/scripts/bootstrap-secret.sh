#!/usr/bin/env bash
# Prints the one-time secret for the first login to the running stack, and nothing else, on standard output.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/stack.sh
. deploy/scripts/stack.sh
load_env
[ "$(cat "$state/mode" 2>/dev/null)" != compose ] || find_compose || die "No Docker engine answers."
show_secret
