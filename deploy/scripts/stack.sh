# shellcheck shell=bash
# What `make up`, `make down` and `make bootstrap-secret` share. Sourced, from the root of the repository.
#
# State of the stack, all below .mero/: mode (how it runs), env (for commands beside it), run/ (a record per process), log/,
# data/ (survives `make down`), nginx/ and nginx-state/.

# shellcheck disable=SC2034 # used by the scripts that source this
state=.mero
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# load_env reads .env as docker compose does: what is exported wins.
load_env() {
    local name value own_port=${MERO_PORT+yes}
    while IFS='=' read -r name value; do
        case $name in '' | \#*) continue ;; esac
        if [ "$name" = MERO_PUBLIC_URL ] && [ -z "${MERO_PUBLIC_URL:-}" ] && [ -n "$own_port" ]; then
            value=http://localhost:$MERO_PORT
        fi
        [ -n "${!name:-}" ] || export "$name=$value"
    done <.env
    # Where the processes listen when they run natively.
    : "${MERO_NATIVE_AUTH_PORT:=3001}" "${MERO_NATIVE_OPS_PORT:=8081}" "${MERO_NATIVE_NODE_PORT:=2528}"
    # shellcheck disable=SC2034
    url=$MERO_PUBLIC_URL
    # shellcheck disable=SC2034
    health=http://${MERO_BIND/0.0.0.0/127.0.0.1}:$MERO_PORT/admin-api/health
}

# native_settings prints the settings of the two services in a native run, NAME=VALUE a line. Some paths are relative,
# because the path of a Unix socket is short: the services run in the root of the repository.
native_settings() {
    cat <<EOF
AUTH_LISTEN_ADDR=127.0.0.1:$MERO_NATIVE_AUTH_PORT
AUTH_ADMIN_ADDR=127.0.0.1:$MERO_NATIVE_OPS_PORT
AUTH_PUBLIC_URL=$MERO_PUBLIC_URL
AUTH_STORAGE__PATH=$state/data/auth
AUTH_SECRETS__KEY_DIR=$state/data/keys
AUTH_ASSERTION__KEY_FILE=$state/data/link/assertion.keys
AUTH_NODE__ENFORCES_PERMISSIONS=true
AUTH_CORS__ALLOW_ALL_ORIGINS=true
AUTH_PROVIDERS__USER_PASSWORD=true
AUTH_PROVIDERS__ETH_WALLET=true
MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/$MERO_NATIVE_NODE_PORT
MEROD_SERVER__AUTH_MODE=proxy
MEROD_SERVER__PROXY__ASSERTION_KEY_FILE=$PWD/$state/data/link/assertion.keys
EOF
}

# native_environment exports them.
native_environment() {
    local setting
    while read -r setting; do export "${setting?}"; done < <(native_settings)
}

# write_env MODE writes what commands beside the running stack need to .mero/env, to be sourced: where the service is, bin/
# on the PATH, and in a native run the settings of mero-auth.
write_env() {
    local name value
    {
        printf '# Made by "make up". In a shell in %s:  . %s/env\n' "$PWD" "$state"
        printf 'export MERO_AUTH_SERVER=%q\n' "$url"
        # shellcheck disable=SC2016 # for the shell that sources it
        printf 'export PATH=%q:"$PATH"\n' "$PWD/bin"
        [ "$1" = native ] || return 0
        while IFS='=' read -r name value; do
            case $name in AUTH_*) printf 'export %s=%q\n' "$name" "$value" ;; esac
        done < <(native_settings)
    } >"$state/env"
}

# find_compose sets compose to the command of Docker Compose when a Docker engine answers.
find_compose() {
    compose=()
    command -v docker >/dev/null || return 1
    timeout 30 docker version >/dev/null 2>&1 || return 1
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        say "A Docker engine answers, but Docker Compose is not installed."
        return 1
    fi
}

# started_at PID: what tells a process from a later one with the same number; fails when there is none or it has ended.
started_at() {
    local stat
    if [ -d /proc/self ]; then
        stat=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
        case $stat in Z* | X*) return 1 ;; esac
        cut -d' ' -f20 <<<"$stat"
    else
        ps -o lstart= -p "$1" 2>/dev/null | tr -s ' ' '_' | grep .
    fi
}

# recorded NAME: sets pid, since and print from the record of a process; fails without a record.
recorded() {
    read -r pid since print 2>/dev/null <"$state/run/$1"
}

# runs NAME: is the recorded process alive?
runs() {
    local pid since print
    recorded "$1" && [ "$(started_at "$pid")" = "$since" ]
}

# stop NAME [SIGNAL]: ends the recorded process, by force after 15 s, and forgets it.
stop() {
    # shellcheck disable=SC2034
    local pid since print deadline=$((SECONDS + 15))
    recorded "$1" || return 0
    if runs "$1"; then
        say "Stopping $1 (process $pid)."
        kill "-${2:-TERM}" "$pid" 2>/dev/null || true # it may have ended just now
        while runs "$1"; do
            if [ $SECONDS -ge $deadline ]; then
                say "$1 does not stop; killing it."
                kill -KILL "$pid" 2>/dev/null || true
                break
            fi
            sleep 0.1
        done
    fi
    rm -f "$state/run/$1"
}

# show_secret prints the bootstrap secret; exit code 3 when the first login has happened.
show_secret() {
    case $(cat "$state/mode" 2>/dev/null) in
    compose) "${compose[@]}" exec -T auth mero-auth bootstrap show ;;
    native)
        native_environment
        bin/mero-auth bootstrap show
        ;;
    *) die "The stack does not run; start it with: make up" ;;
    esac
}
