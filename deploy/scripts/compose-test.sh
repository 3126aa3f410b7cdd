#!/usr/bin/env bash
# Runs the compose file, unmodified, on a Docker engine and checks that the stack works and is closed where it should
# be. Uses the engine that answers, or a private one without network (deploy/offline) that it stops again. Base images
# that are neither there nor in reach are stood in for. Adds its counts to the file that MERO_TEST_COUNTS names.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/stack.sh
. deploy/scripts/stack.sh

# Apart from a stack that may run: another project, port and other networks. This also shows that .env can be changed.
export COMPOSE_PROJECT_NAME=mero-test MERO_PORT=${MERO_TEST_PORT:-18080} MERO_PUBLIC_URL=
export MERO_EDGE_SUBNET=172.30.241.0/28 MERO_OUT_AUTH_SUBNET=172.30.241.48/28 MERO_OUT_NODE_SUBNET=172.30.241.64/28
export MERO_GATE_SUBNET=172.30.241.16/28 MERO_GATE_PROXY=172.30.241.18 MERO_GATE_AUTH=172.30.241.19
export MERO_BACKEND_SUBNET=172.30.241.32/28 MERO_BACKEND_PROXY=172.30.241.34 MERO_BACKEND_NODE=172.30.241.35
load_env

work=$(mktemp -d)
engine=''
cleanup() {
    [ -z "${compose[*]:-}" ] || "${compose[@]}" down --volumes --remove-orphans >>"$work/compose.log" 2>&1 || true
    [ -z "$engine" ] || deploy/offline/dockerd.sh stop "$engine"
    rm -rf "$work"
}
trap cleanup EXIT

if ! timeout 10 docker version >/dev/null 2>&1; then
    # The directory stays: the next run finds the images in it.
    engine=$PWD/.tools/docker
    started=$(deploy/offline/dockerd.sh start "$engine" --bridge none)
    eval "$started"
    export DOCKER_BUILDKIT=0 # BuildKit insists on a bridge
fi
find_compose || die "Docker Compose is missing."
if [ -z "$engine" ]; then
    for image in golang:1.26-alpine nginx:1.27-alpine; do
        docker image inspect "$image" >/dev/null 2>&1 || timeout 300 docker pull -q "$image" >/dev/null 2>&1 || true
    done
fi
deploy/offline/images.sh

passed=0 failed=0
# check NAME COMMAND...: counts and prints whether COMMAND succeeds.
check() {
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
        echo "--- PASS: compose/$name"
    else
        failed=$((failed + 1))
        echo "--- FAIL: compose/$name"
        sed 's/^/    /' "$work/out"
    fi
}

container() { docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter "label=com.docker.compose.service=$1"; }

# call STATUS ARGUMENTS...: a request through nginx; the answer, head and body, lands in $work/answer.
call() {
    local want=$1 got
    shift
    got=$(curl -sS -m 60 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@") || return 1
    tr -d '\r' <"$work/head" >"$work/answer"
    cat "$work/body" >>"$work/answer"
    [ "$got" = "$want" ] || { echo "status $got, want $want"; cat "$work/answer"; return 1; }
}

has() { grep -qiE "$1" "$work/answer" || { echo "no line matches: $1"; cat "$work/answer"; return 1; }; }

token() { sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p' "$work/body"; }

# diagnose prints what a person would look at.
diagnose() {
    local id
    tail -n 15 "$work/compose.log"
    for id in $(docker ps -aq --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME"); do
        docker inspect -f '{{.Name}} {{.State.Status}} {{with .State.Health}}{{.Status}}{{range .Log}}
    health check: exit {{.ExitCode}} {{.Output}}{{end}}{{end}}' "$id"
        docker logs --tail 20 "$id" 2>&1
    done
}

start_stack() {
    "${compose[@]}" up -d --build >>"$work/compose.log" 2>&1 || { diagnose; return 1; }
    local deadline=$((SECONDS + 300)) # the fuzzers compute beside it
    until curl -fsS -m 5 -o /dev/null "$health" 2>/dev/null; do
        if [ $SECONDS -ge $deadline ]; then
            diagnose
            return 1
        fi
        sleep 0.5
    done
}

login() {
    local secret
    secret=$("${compose[@]}" exec -T auth mero-auth bootstrap show) || return 1
    call 200 "$url/auth/token" -H 'Content-Type: application/json' -d '{"auth_method":"user_password","public_key":"admin",
        "client_name":"compose-test","timestamp":'"$(date +%s)"',"provider_data":{"username":"admin",
        "password":"correct horse battery","bootstrap_secret":"'"$secret"'"}}' || return 1
    root=$(token)
    [ -n "$root" ] || { cat "$work/answer"; return 1; }
}

client_key() {
    call 200 "$url/admin/client-key" -H "Authorization: Bearer $root" -H 'Content-Type: application/json' \
        -d '{"context_id":"","context_identity":"","permissions":["blob:list"]}' || return 1
    app=$(token)
    [ -n "$app" ] || { cat "$work/answer"; return 1; }
}

no_token() {
    call 401 -H 'X-Auth-Key: root' -H 'X_Auth_Key: root' "$url/admin-api/blobs" && has '^www-authenticate: bearer' &&
        has '^x-auth-error: missing_token' && has '^content-type: application/json' && has '"error":"No token provided"'
}

bootstrap_closed() {
    local code=0
    "${compose[@]}" exec -T auth mero-auth bootstrap show || code=$?
    [ "$code" = 3 ]
}

# Past the gate: from the proxy's own address, which the node trusts as a peer, but without an assertion.
direct_call() {
    local code=0
    docker exec "$(container nginx)" wget -q -S -O - --header 'X-Auth-Key: root' http://mero-node:2528/admin-api/blobs \
        >"$work/direct" 2>&1 || code=$?
    if [ "$code" = 0 ] || ! grep -q ' 401 ' "$work/direct"; then
        cat "$work/direct"
        return 1
    fi
}

published_ports() {
    local service got
    for service in auth node; do
        got=$(docker inspect -f '{{range $p, $b := .NetworkSettings.Ports}}{{range $b}}{{.HostPort}} {{end}}{{end}}' "$(container $service)")
        [ -z "$got" ] || { echo "$service publishes $got"; return 1; }
    done
    got=$(docker inspect -f '{{range $p, $b := .NetworkSettings.Ports}}{{range $b}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}' "$(container nginx)")
    [ "$got" = "127.0.0.1:$MERO_PORT " ] || { echo "nginx publishes $got"; return 1; }
}

networks_of() { docker inspect -f '{{range $n, $_ := .NetworkSettings.Networks}}{{println $n}}{{end}}' "$(container "$1")" | grep . | sort; }

separate_networks() {
    local shared
    shared=$(comm -12 <(networks_of auth) <(networks_of node))
    [ -z "$shared" ] || { echo "auth and node share $shared"; return 1; }
}

hardened() {
    local service got
    for service in auth node nginx; do
        got=$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}} {{.Config.User}}' "$(container $service)")
        grep -qE '^true \[ALL\] \[no-new-privileges:true\] (10001:10001|101:101)$' <<<"$got" || { echo "$service: $got"; return 1; }
    done
}

# The key that the node trusts is readable, not writable, there.
link_is_read_only() {
    docker inspect -f '{{range .Mounts}}{{.Destination}} {{.RW}}{{println}}{{end}}' "$(container node)" | grep -qx '/link false'
}

# The scenarios of deploy/e2e against this stack: wallet login, refresh, refusals, blobs. The account is the one above.
# The upload of seventy seconds is left to the native run, whose nginx has the same configuration.
scenarios() { MERO_E2E_URL=$url GOWORK=off go -C deploy/e2e test -count=1 -timeout 15m -skip TricklesForSeventySeconds .; }

# The sample application on the read-only file system: installed by path, run, and its compiled module kept in the volume.
application() {
    local json='Content-Type: application/json' auth="Authorization: Bearer $root" id
    make -s bundle && docker cp bin/kv-store.mpk "$(container node):/data/kv-store.mpk" || return 1
    call 200 "$url/admin-api/install-dev-application" -H "$auth" -H "$json" -d '{"path":"/data/kv-store.mpk","metadata":[]}' || return 1
    id=$(sed 's/.*"applicationId":"\([^"]*\)".*/\1/' "$work/body")
    call 200 "$url/admin-api/contexts" -H "$auth" -H "$json" -d '{"applicationId":"'"$id"'"}' || return 1
    context=$(sed 's/.*"contextId":"\([^"]*\)".*/\1/' "$work/body")
    method set '{"key":"k","value":"kept"}' && has '"output":null' && method get '{"key":"k"}' && has '"output":"kept"'
}

# method NAME ARGUMENTS: calls a method of the sample application.
method() {
    call 200 "$url/jsonrpc" -H "Authorization: Bearer $root" -H 'Content-Type: application/json' \
        -d '{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":"'"$context"'","method":"'"$1"'","argsJson":'"$2"'}}'
}

state_survives() { method get '{"key":"k"}' && has '"output":"kept"'; }

restart() {
    "${compose[@]}" down >>"$work/compose.log" 2>&1 && start_stack
}

nothing_left() {
    "${compose[@]}" down --volumes >>"$work/compose.log" 2>&1 || return 1
    [ -z "$(docker volume ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")" ]
}

root='' app='' context=''
started=$SECONDS
check start start_stack
[ "$failed" = 0 ] || { echo "0 $failed 0" >>"${MERO_TEST_COUNTS:-/dev/null}"; exit 1; }
echo "    built and healthy after $((SECONDS - started)) s"
check no-token-is-401-with-reason no_token
check login-with-bootstrap-secret login
check bootstrap-closed-after-first-login bootstrap_closed
check client-key client_key
check node-call call 200 "$url/admin-api/blobs" -H "Authorization: Bearer $app"
check missing-permission-is-403 call 403 -X DELETE "$url/admin-api/blobs/x" -H "Authorization: Bearer $app"
check reason-of-403 has '^x-auth-error: permission_denied'
check garbage-token-is-401 call 401 "$url/admin-api/blobs" -H 'Authorization: Bearer garbage'
check call-past-the-gate-is-401 direct_call
check only-the-proxy-publishes published_ports
check auth-and-node-share-no-network separate_networks
check hardened-containers hardened
check link-is-read-only-in-node link_is_read_only
check application-runs application
check end-to-end-scenarios scenarios
check restart restart
check data-survives-restart call 200 "$url/admin-api/blobs" -H "Authorization: Bearer $app"
check state-of-a-context-survives-restart state_survives
check nothing-left-after-down-volumes nothing_left

echo "$passed $failed 0" >>"${MERO_TEST_COUNTS:-/dev/null}"
[ "$failed" = 0 ]
