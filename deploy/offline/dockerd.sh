#!/usr/bin/env bash
# Starts or stops a private Docker engine that keeps everything below one directory. For machines without a running one.
#
#   eval "$(deploy/offline/dockerd.sh start DIR [ARGUMENT...])"    prints "export DOCKER_HOST=..."
#   deploy/offline/dockerd.sh stop DIR                             stops the engine; the images stay in DIR
#
# ARGUMENTs go to dockerd: with "--bridge none" nothing in an image build reaches a network. Needs root and Debian's
# docker.io. Do not run it beside another engine: both would write the same firewall rules.
set -euo pipefail

say() { printf '%s\n' "dockerd: $*" >&2; }
die() { say "$*"; exit 1; }

[ $# -ge 2 ] || die "usage: dockerd.sh start|stop DIR [ARGUMENT...]"
action=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd -P)
shift 2
socket=unix://$dir/docker.sock

# running: is the process of the pid file the engine of this directory?
running() {
    local pid
    pid=$(cat "$dir/docker.pid" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "--data-root $dir/data"
}

# launch ARGUMENT...: starts the engine in the background.
launch() {
    rm -f "$dir/docker.pid"
    setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" --host "$socket" --pidfile "$dir/docker.pid" \
        "$@" >"$dir/dockerd.log" 2>&1 </dev/null &
    engine=$!
}

start() {
    local engine='' again=yes
    if ! running; then
        [ "$(id -u)" = 0 ] || die "a Docker engine needs root"
        command -v dockerd >/dev/null || die "dockerd is missing: apt-get install docker.io"
        say "starting an engine in $dir"
        launch "$@"
    fi
    local deadline=$((SECONDS + 180))
    until DOCKER_HOST=$socket docker version >/dev/null 2>&1; do
        # On a busy machine containerd may take longer to start than the engine waits for it (15 s).
        if [ -n "$engine" ] && [ -n "$again" ] && ! kill -0 "$engine" 2>/dev/null; then
            tail -n 5 "$dir/dockerd.log" >&2
            say "the engine ended; starting it once more"
            again=''
            launch "$@"
        fi
        if [ $SECONDS -ge $deadline ]; then
            tail -n 5 "$dir/dockerd.log" >&2
            die "the engine did not answer within 180 s (log: $dir/dockerd.log)"
        fi
        sleep 0.3
    done
    printf 'export DOCKER_HOST=%q\n' "$socket"
}

stop() {
    running || return 0
    local pid deadline=$((SECONDS + 120))
    pid=$(cat "$dir/docker.pid")
    say "stopping the engine in $dir"
    kill "$pid"
    while running; do
        [ $SECONDS -lt $deadline ] || die "the engine does not stop (pid $pid)"
        sleep 0.3
    done
    umount "$dir/data" 2>/dev/null || true # the engine leaves it mounted on itself, and then nobody can remove it
}

case $action in
start) start "$@" ;;
stop) stop ;;
*) die "usage: dockerd.sh start|stop DIR [ARGUMENT...]" ;;
esac
