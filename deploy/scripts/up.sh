#!/usr/bin/env bash
# Starts the proxy, mero-auth and merod, waits until they are healthy and prints what to do next. With Docker Compose when a
# Docker engine answers, otherwise natively (MERO_RUN=compose or MERO_RUN=native chooses). Settings: .env.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/stack.sh
. deploy/scripts/stack.sh
load_env
umask 077
mkdir -p "$state"/{run,log,data,nginx,nginx-state}

# wait_for WHAT SECONDS LOG COMMAND...: waits until COMMAND succeeds; shows the end of LOG and fails when it does not.
wait_for() {
    local what=$1 seconds=$2 log=$3 begin=$SECONDS next=5
    shift 3
    until "$@" >/dev/null 2>&1; do
        if ! still_there "$what" || [ $((SECONDS - begin)) -ge "$seconds" ]; then
            say "$what is not healthy after $((SECONDS - begin)) s. The end of $log:"
            tail -n 15 "$log" >&2 || true
            return 1
        fi
        if [ $((SECONDS - begin)) -ge "$next" ]; then
            say "  waiting for $what ... $((SECONDS - begin)) s"
            next=$((next + 5))
        fi
        sleep 0.2
    done
}

# still_there NAME: a process that ended will not become healthy; containers are waited for.
still_there() {
    [ "$(cat "$state/mode")" = compose ] || runs "$1"
}

# start NAME PORT VARIABLE FILES -- COMMAND...: starts a process in the background and records it. One that already
# runs is left alone, or started anew when its program, configuration or settings have changed.
start() {
    local name=$1 port=$2 variable=$3 files=() fingerprint pid since print
    shift 3
    while [ "$1" != -- ]; do files+=("$1"); shift; done
    shift
    fingerprint=$({ cat "${files[@]}"; env | grep -E '^(AUTH|MEROD|MERO_AUTH)_' | sort; printf '%s\n' "$@"; } | cksum | tr ' ' -)
    if runs "$name"; then
        recorded "$name"
        if [ "$print" = "$fingerprint" ]; then
            say "$name already runs (process $pid)."
            return
        fi
        say "$name has changed."
        stop "$name"
    fi
    if (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; then
        die "Port $port, where $name should listen, is in use. Free it or choose another: $variable=... make up"
    fi
    say "Starting $name (port $port, log $state/log/$name.log)."
    local detach=()
    ! command -v setsid >/dev/null || detach=(setsid)
    nohup "${detach[@]}" "$@" >>"$state/log/$name.log" 2>&1 </dev/null &
    pid=$!
    since=$(started_at "$pid") || die "$name ended at once; see $state/log/$name.log"
    printf '%s %s %s\n' "$pid" "$since" "$fingerprint" >"$state/run/$name"
}

up_native() {
    deploy/scripts/packages.sh up native
    "${MAKE:-make}" --no-print-directory build
    mkdir -p "$state"/data/{auth,keys,link,node}
    native_environment

    start mero-auth "$MERO_NATIVE_AUTH_PORT" MERO_NATIVE_AUTH_PORT bin/mero-auth -- "$PWD/bin/mero-auth"
    wait_for mero-auth 120 "$state/log/mero-auth.log" bin/mero-auth healthcheck

    local merod=("$PWD/bin/merod" --home "$PWD/$state/data" --node node)
    start merod "$MERO_NATIVE_NODE_PORT" MERO_NATIVE_NODE_PORT bin/merod -- "${merod[@]}" run --init
    wait_for merod 120 "$state/log/merod.log" "${merod[@]}" healthcheck

    cp nginx/mero.conf "$state/nginx/mero.conf"
    sed "s/127\.0\.0\.1:3001/127.0.0.1:$MERO_NATIVE_AUTH_PORT/; s/127\.0\.0\.1:2528/127.0.0.1:$MERO_NATIVE_NODE_PORT/" \
        nginx/upstreams.native.conf >"$state/nginx/upstreams.conf"
    sed "s/127\.0\.0\.1:8080/$MERO_BIND:$MERO_PORT/" nginx/listen.native.conf >"$state/nginx/listen.conf"
    start nginx "$MERO_PORT" MERO_PORT "$state"/nginx/*.conf -- \
        nginx -e stderr -p "$PWD/$state/nginx-state/" -c "$PWD/$state/nginx/mero.conf"
    wait_for nginx 60 "$state/log/nginx.log" curl -fsS -m 5 "$health"
}

up_compose() {
    local log=$state/log/compose.log
    deploy/scripts/packages.sh up
    MERO_VERSION=$(deploy/scripts/version.sh)
    MERO_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
    export MERO_VERSION MERO_COMMIT
    : >"$state/has-volumes"
    say "Building the images and starting the containers: ${compose[*]} up -d --build"
    say "  (the first time takes some minutes; log $log)"
    "${compose[@]}" up -d --build >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "${compose[*]} failed."; }
    if ! wait_for "the stack" 120 "$log" curl -fsS -m 5 "$health"; then
        "${compose[@]}" ps >&2
        exit 1
    fi
}

# next_steps prints the address, the secret and three lines to paste.
next_steps() {
    local secret code=0 user=admin password field='' json token
    json="-H 'Content-Type: application/json'"
    token="sed 's/.*\"access_token\":\"\([^\"]*\)\".*/\1/'"
    secret=$(show_secret 2>/dev/null) || code=$?
    case $code in
    0) password=$(head -c 15 /dev/urandom | base64 | tr '+/' '-_') ;;
    3) user=YOUR_USER password=YOUR_PASSWORD ;;
    *)
        show_secret >&2 || true
        die "The bootstrap secret could not be read."
        ;;
    esac
    printf '\nThe node and its auth service are ready at %s\n' "$url"
    if [ "$code" = 3 ]; then
        printf 'The first login has happened: log in with the account that was made then.\n'
    else
        printf 'One-time secret for the first login: %s\n' "${secret:=the one that you configured}"
        field=",\"bootstrap_secret\":\"$secret\""
        printf 'The password in the first line was made up just now: keep it, or choose your own.\n'
    fi
    cat <<EOF

Log in, make a key that may only list blobs, call the node with it:

ROOT=\$(curl -sS $url/auth/token $json -d '{"auth_method":"user_password","public_key":"$user","client_name":"curl","timestamp":$(date +%s),"provider_data":{"username":"$user","password":"$password"$field}}' | $token)
APP=\$(curl -sS $url/admin/client-key -H "Authorization: Bearer \$ROOT" $json -d '{"context_id":"","context_identity":"","permissions":["blob:list"]}' | $token)
curl -i $url/admin-api/blobs -H "Authorization: Bearer \$APP"

Commands of mero-auth (docs/recipes.md) find it after:  . $state/env
Stop it with "make down"; the data stays until "make clean".
EOF
}

running=$(cat "$state/mode" 2>/dev/null || true)
case ${MERO_RUN:-${running:-auto}} in
compose) find_compose || die "No Docker engine with Docker Compose answers." ;;
native) compose=() ;;
auto) find_compose || say "No Docker engine answers: running the three programs natively." ;;
*) die "MERO_RUN is compose or native." ;;
esac
mode=native
[ ${#compose[@]} = 0 ] || mode=compose
if [ -n "$running" ] && [ "$running" != "$mode" ]; then
    die "The stack already runs in the other way ($running): make down first."
fi
case $mode,$COMPOSE_PROFILES, in
native,*traefik,*) die "Traefik is started by Docker Compose only; natively the proxy is nginx (COMPOSE_PROFILES=nginx)." ;;
esac
echo "$mode" >"$state/mode"
"up_$mode"
write_env "$mode"
next_steps
