#!/usr/bin/env bash
# Runs the compose file, unmodified, on a Docker engine and checks that the stack works and is closed where it should
# be; then starts the images for merobox as merobox does. Uses the engine that answers, or a private one without network (deploy/offline) that it stops again. Base images
# that are neither there nor in reach are stood in for. Adds its counts to the file that MERO_TEST_COUNTS names.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/stack.sh
. deploy/scripts/stack.sh
# shellcheck source=deploy/scripts/attempt.sh
. deploy/scripts/attempt.sh

# Apart from a stack that may run: another project, port and other networks. This also shows that .env can be changed.
export COMPOSE_PROJECT_NAME=mero-test MERO_PORT=${MERO_TEST_PORT:-18080} MERO_PUBLIC_URL=
export MERO_EDGE_SUBNET=172.30.241.0/28 MERO_OUT_AUTH_SUBNET=172.30.241.48/28 MERO_OUT_NODE_SUBNET=172.30.241.64/28
export MERO_GATE_SUBNET=172.30.241.16/28 MERO_GATE_PROXY=172.30.241.18 MERO_GATE_AUTH=172.30.241.19
merobox_subnet=172.30.241.80/28
export MERO_BACKEND_SUBNET=172.30.241.32/28 MERO_BACKEND_PROXY=172.30.241.34 MERO_BACKEND_NODE=172.30.241.35
export COMPOSE_HTTP_TIMEOUT=600 # Compose 1 gives the engine 60 s for each answer, and this machine is busy
load_env

work=$(mktemp -d)
engine=''
cleanup() {
    merobox_down >/dev/null 2>&1 || true
    [ -z "${compose[*]:-}" ] || "${compose[@]}" down --volumes --remove-orphans >>"$work/compose.log" 2>&1 || true
    [ -z "$engine" ] || deploy/offline/dockerd.sh stop "$engine"
    rm -rf "$work"
}
trap cleanup EXIT

if ! timeout 60 docker version >/dev/null 2>&1; then
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

passed=0 failed=0 code=0
# check NAME COMMAND...: counts and prints whether COMMAND succeeds. It runs in a shell of its own, so what later ones need
# is kept in files.
check() {
    local name=$1
    shift
    attempt "$@" >"$work/out" 2>&1
    if [ "$code" = 0 ]; then
        passed=$((passed + 1))
        echo "--- PASS: compose/$name"
    else
        failed=$((failed + 1))
        echo "--- FAIL: compose/$name"
        sed 's/^/    /' "$work/out"
    fi
}

container() { docker ps -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --filter "label=com.docker.compose.service=$1"; }

# call STATUS ARGUMENTS...: a request through nginx; the answer, head and body, lands in $work/answer. nginx gives a gate
# that is later than five seconds, as on a busy machine, up with 503, and asks to come back after a second.
call() {
    local want=$1 got giveup=$((SECONDS + 120))
    shift
    while :; do
        got=$(curl -sS -m 60 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@") || return 1
        if [ "$got" != 503 ] || [ $SECONDS -ge $giveup ] || ! grep -qi '^retry-after: 1.$' "$work/head"; then break; fi
        sleep 1
    done
    tr -d '\r' <"$work/head" >"$work/answer"
    cat "$work/body" >>"$work/answer"
    [ "$got" = "$want" ] || { echo "status $got, want $want"; cat "$work/answer"; return 1; }
}

has() { grep -qiE "$1" "$work/answer" || { echo "no line matches: $1"; cat "$work/answer"; return 1; }; }

# member NAME: the value of a member of the answer, a text; fails when there is none.
member() { sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p' "$work/body" | grep . || { cat "$work/answer" >&2; return 1; }; }

# keep NAME MEMBER: keeps a member of the answer; kept NAME prints it.
keep() { member "$2" >"$work/kept-$1"; }
kept() { cat "$work/kept-$1"; }

json='Content-Type: application/json'
# first_login SECRET: what the first administrator sends to /auth/token.
first_login() {
    printf '{"auth_method":"user_password","public_key":"admin","client_name":"compose-test","timestamp":%s,"provider_data":' "$(date +%s)"
    printf '{"username":"admin","password":"correct horse battery","bootstrap_secret":"%s"}}' "$1"
}

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
    secret=$("${compose[@]}" exec -T auth mero-auth bootstrap show)
    call 200 "$url/auth/token" -H "$json" -d "$(first_login "$secret")"
    keep root access_token
}

client_key() {
    call 200 "$url/admin/client-key" -H "Authorization: Bearer $(kept root)" -H "$json" \
        -d '{"context_id":"","context_identity":"","permissions":["blob:list"]}'
    keep app access_token
}

# blobs STATUS METHOD PATH: a call with the client key.
blobs() { call "$1" -X "$2" "$url/admin-api/blobs$3" -H "Authorization: Bearer $(kept app)"; }

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
    local auth
    auth="Authorization: Bearer $(kept root)"
    make -s bundle
    docker cp bin/kv-store.mpk "$(container node):/data/kv-store.mpk"
    call 200 "$url/admin-api/install-dev-application" -H "$auth" -H "$json" -d '{"path":"/data/kv-store.mpk","metadata":[]}'
    call 200 "$url/admin-api/contexts" -H "$auth" -H "$json" -d '{"applicationId":"'"$(member applicationId)"'"}'
    keep context contextId
    method set '{"key":"k","value":"kept"}'
    has '"output":null'
    method get '{"key":"k"}'
    has '"output":"kept"'
}

# method NAME ARGUMENTS: calls a method of the sample application.
method() {
    call 200 "$url/jsonrpc" -H "Authorization: Bearer $(kept root)" -H "$json" \
        -d '{"jsonrpc":"2.0","id":1,"method":"execute","params":{"contextId":"'"$(kept context)"'","method":"'"$1"'","argsJson":'"$2"'}}'
}

state_survives() { method get '{"key":"k"}' && has '"output":"kept"'; }

restart() {
    "${compose[@]}" down >>"$work/compose.log" 2>&1 && start_stack
}

nothing_left() {
    "${compose[@]}" down --volumes >>"$work/compose.log" 2>&1
    [ -z "$(docker volume ls -q --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")" ]
}

# What merobox does with its three images (docs/clients.md): its own command lines, as root, with a volume of its choice and
# a published port; its Traefik asks the plain address of the gate and hands on two headers.
merobox=mero-test-merobox

merobox_down() {
    docker ps -aq --filter "label=$merobox" | xargs -r docker rm -f
    docker volume ls -q --filter "label=$merobox" | xargs -r docker volume rm
    docker network rm "$merobox"
}

merobox_build() {
    local target service
    for target in merobox-auth merobox-node merobox-node-gated; do
        service=node
        [ "$target" != merobox-auth ] || service=auth
        # The arguments of the compose file: all but the last step is there.
        docker build -q -f "deploy/$service.Dockerfile" --target "$target" -t "mero-test-$target" \
            --build-arg "VERSION=${MERO_VERSION:-0.0.0-dev}" --build-arg "COMMIT=${MERO_COMMIT:-unknown}" .
    done
    docker network create --subnet "$merobox_subnet" "$merobox"
}

# merobox_start NAME TARGET PORT VOLUME COMMAND...: starts a container and keeps the published address of its port.
merobox_start() {
    local name=$1 target=$2 port=$3 volume=$4
    shift 4
    docker run -d --name "$merobox-$name" --label "$merobox" --network "$merobox" --user root -p "127.0.0.1::$port" \
        -e CALIMERO_HOME=/app/data -e "NODE_NAME=$name" -e RUST_LOG=info -v "$merobox-$name:$volume" "mero-test-$target" "$@"
    docker port "$merobox-$name" "$port" | head -n 1 >"$work/kept-$name"
}

# merobox_node NAME TARGET: initializes a node and runs it.
merobox_node() {
    local merod=(merod --home /app/data --node "$1")
    docker volume create --label "$merobox" "$merobox-$1"
    docker run --rm --user root --entrypoint '' --network none -v "$merobox-$1:/app/data" "mero-test-$2" \
        "${merod[@]}" init --server-host 0.0.0.0 --server-port 2528 --swarm-port 2428
    merobox_start "$1" "$2" 2528 /app/data "${merod[@]}" run
    healthy "$1" /admin-api/health
}

# healthy NAME PATH: waits for a container of merobox's.
healthy() {
    local deadline=$((SECONDS + 120))
    until curl -fsS -m 5 -o /dev/null "http://$(kept "$1")$2" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || { docker logs --tail 20 "$merobox-$1" 2>&1; return 1; }
        sleep 0.2
    done
}

# Everybody who names the node by one of its names is served, without a token.
merobox_plain_node() {
    merobox_node node1 merobox-node
    call 200 "http://$(kept node1)/admin-api/blobs"
    call 200 "http://$(kept node1)/admin-api/contexts" -H 'Host: node1.127.0.0.1.nip.io'
    call 403 "http://$(kept node1)/admin-api/blobs" -H 'Host: evil.example'
}

merobox_auth() {
    local secret
    docker volume create --label "$merobox" "$merobox-auth"
    merobox_start auth merobox-auth 3001 /data
    healthy auth /auth/health
    secret=$(docker exec "$merobox-auth" mero-auth bootstrap show)
    call 200 "http://$(kept auth)/auth/token" -H "$json" -d "$(first_login "$secret")"
    keep merobox access_token
}

# As Traefik asks: the target in the forwarding headers.
merobox_gate() {
    local ask
    ask=("http://$(kept auth)/auth/validate" -H 'X-Forwarded-Method: GET' -H 'X-Forwarded-Uri: /admin-api/blobs')
    call 401 "${ask[@]}"
    has '^x-auth-error: missing_token'
    call 200 "${ask[@]}" -H "Authorization: Bearer $(kept merobox)"
    has '^x-auth-user: .'
    has '^x-auth-permissions: admin'
    grep -iE '^x-auth-(user|permissions):' "$work/answer" >"$work/kept-identity"
}

# The node believes the two headers that merobox's Traefik hands on, and nobody without them.
merobox_gated_node() {
    local identity=() line
    merobox_node node2 merobox-node-gated
    call 401 "http://$(kept node2)/admin-api/blobs"
    while read -r line; do identity+=(-H "$line"); done <"$work/kept-identity"
    call 200 "http://$(kept node2)/admin-api/blobs" "${identity[@]}"
    call 403 "http://$(kept node2)/admin-api/blobs" "${identity[@]}" -H 'Host: evil.example'
}

# What a run that was broken off has left.
merobox_down >/dev/null 2>&1 || true
"${compose[@]}" down --volumes --remove-orphans >>"$work/compose.log" 2>&1 || true

started=$SECONDS
check start start_stack
[ "$failed" = 0 ] || { echo "0 $failed 0" >>"${MERO_TEST_COUNTS:-/dev/null}"; exit 1; }
echo "    built and healthy after $((SECONDS - started)) s"
check no-token-is-401-with-reason no_token
check login-with-bootstrap-secret login
check bootstrap-closed-after-first-login bootstrap_closed
check client-key client_key
check node-call blobs 200 GET ''
check missing-permission-is-403 blobs 403 DELETE /x
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
check data-survives-restart blobs 200 GET ''
check state-of-a-context-survives-restart state_survives
check nothing-left-after-down-volumes nothing_left

started=$SECONDS
check merobox-images-build merobox_build
check merobox-node merobox_plain_node
check merobox-auth merobox_auth
check merobox-gate merobox_gate
check merobox-node-gated merobox_gated_node
check merobox-leaves-nothing merobox_down
echo "    the images for merobox took $((SECONDS - started)) s"

echo "$passed $failed 0" >>"${MERO_TEST_COUNTS:-/dev/null}"
[ "$failed" = 0 ]
