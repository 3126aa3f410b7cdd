#!/usr/bin/env bash
# Stops what `make up` started and nothing else. The data stays; with --volumes that of containers is removed.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/stack.sh
. deploy/scripts/stack.sh
load_env

[ $# = 0 ] || [ "$*" = --volumes ] || die "usage: down.sh [--volumes]"
mode=$(cat "$state/mode" 2>/dev/null || true)
if [ "$mode" = native ]; then
    stop nginx QUIT
    stop merod
    stop mero-auth
fi
# The volumes of the containers outlive `make down`, so --volumes looks for them when nothing runs, too.
if [ "$mode" = compose ] || { [ "${1:-}" = --volumes ] && [ -e "$state/has-volumes" ]; }; then
    find_compose || die "The stack has containers or volumes, but no Docker engine answers."
    say "Stopping the containers: ${compose[*]} down $*"
    # With either proxy, whichever the settings name by now.
    COMPOSE_PROFILES=nginx,traefik "${compose[@]}" down "$@"
    [ "${1:-}" != --volumes ] || rm -f "$state/has-volumes"
elif [ -z "$mode" ]; then
    say "The stack does not run."
fi
rm -f "$state/mode"
