#!/usr/bin/env bash
# Puts the bundle of the sample application where the running node may install it from, and prints its path there, and
# nothing else, on standard output.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/stack.sh
. deploy/scripts/stack.sh
load_env
bundle=bin/kv-store.mpk
case $(cat "$state/mode" 2>/dev/null) in
compose)
    find_compose || die "No Docker engine answers."
    node=$("${compose[@]}" ps -q node)
    docker cp -q "$bundle" "$node:/data/kv-store.mpk" 2>/dev/null || docker cp "$bundle" "$node:/data/kv-store.mpk" >&2
    echo /data/kv-store.mpk
    ;;
native)
    cp "$bundle" "$state/data/kv-store.mpk"
    echo "$PWD/$state/data/kv-store.mpk"
    ;;
*) die "The stack does not run; start it with: make up" ;;
esac
