#!/usr/bin/env bash
# Builds stand-ins for the base images of docker-compose.yml from what this machine has: for a network without an image
# registry. The stand-ins carry the names that the Dockerfiles and the compose file use, so those stay as they are.
#
#   deploy/offline/images.sh [--force]
#
# Needs: a Docker engine (DOCKER_HOST), Go, nginx, busybox-static, CA certificates. See docs/air-gapped.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/attempt.sh
. deploy/scripts/attempt.sh

builder=golang:1.26-alpine
proxy=nginx:1.27-alpine

say() { printf '%s\n' "offline images: $*" >&2; }
die() { say "$*"; exit 1; }

# What a stand-in was made of; a real image has no such label and is never replaced without --force.
label=mero.stand-in
content() {
    case $1 in
    builder) { go version; cat services/*/go.mod services/*/go.sum; } | cksum ;;
    proxy) PATH=$PATH:/usr/sbin nginx -v 2>&1 ;;
    esac | tr -c 'a-zA-Z0-9./\n' '-'
}
up_to_date() {
    local found
    found=$(docker image inspect -f "{{index .Config.Labels \"$label\"}}" "$2" 2>/dev/null) || return 1
    [ -z "$found" ] || [ "$found" = "$(content "$1")" ]
}

force=${1:-}
for tool in docker go nginx busybox tar; do
    PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || die "$tool is missing (Debian: docker.io nginx-light busybox-static)"
done
docker version >/dev/null 2>&1 || die "no Docker engine answers (deploy/offline/dockerd.sh starts one)"

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

# busybox_root DIR: a root file system with the tools of busybox and the fewest files that programs look for.
busybox_root() {
    mkdir -p "$1"/{bin,etc/ssl/certs,root,tmp,usr/bin,usr/sbin,var/log}
    chmod 1777 "$1/tmp"
    cp -L "$(command -v busybox)" "$1/bin/busybox"
    "$1/bin/busybox" --list | grep -vx busybox | while read -r applet; do ln -s busybox "$1/bin/$applet"; done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
    printf 'hosts: files dns\n' >"$1/etc/nsswitch.conf"
    if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
    else
        : >"$1/etc/ssl/certs/ca-certificates.crt" # the services then reach no https address
    fi
}

# The Go image holds the toolchain of this machine and a module source with exactly the modules of the services. They
# are taken from this machine's module cache; what it lacks is downloaded here, nothing inside an image build.
build_builder() {
    local root=$work/builder goroot cache
    goroot=$(go env GOROOT)
    cache=$(go env GOMODCACHE)
    busybox_root "$root"
    mkdir -p "$root/usr/local/go" "$root/go" "$root/modules"
    cp -a "$goroot"/{VERSION,go.env,bin,pkg,src} "$root/usr/local/go/"
    local module
    for module in services/auth services/node; do
        GOWORK=off GOFLAGS=-modcacherw GOMODCACHE="$work/cache" GOPROXY="file://$cache/cache/download,$(go env GOPROXY)" \
            again go -C "$module" mod download
    done
    if [ -d "$work/cache/cache/download" ]; then
        rm -rf "$work/cache/cache/download/sumdb"
        mv "$work/cache/cache/download" "$root/modules/"
    else
        mkdir "$root/modules/download" # no dependencies
    fi
    tar -C "$root" --owner=0 --group=0 -c . | docker import \
        -c 'ENV PATH=/go/bin:/usr/local/go/bin:/usr/sbin:/usr/bin:/bin' \
        -c 'ENV GOPATH=/go' -c 'ENV GOTOOLCHAIN=local' -c 'ENV GOSUMDB=off' -c 'ENV GOPROXY=file:///modules/download' \
        -c 'WORKDIR /go' -c 'CMD ["sh"]' -c "LABEL $label=$(content builder)" - "$builder" >/dev/null
}

# The nginx image holds this machine's nginx with its libraries.
build_proxy() {
    local root=$work/proxy binary library
    binary=$(PATH=$PATH:/usr/sbin command -v nginx)
    busybox_root "$root"
    printf 'nginx:x:101:101:nginx:/nonexistent:/bin/false\n' >>"$root/etc/passwd"
    printf 'nginx:x:101:\n' >>"$root/etc/group"
    cp -L "$binary" "$root/usr/sbin/nginx"
    ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
    mkdir -p "$root/etc/nginx" "$root/run" "$root/var/lib/nginx" "$root/var/log/nginx"
    tar -C "$root" --owner=0 --group=0 -c . | docker import \
        -c 'ENV PATH=/usr/sbin:/usr/bin:/bin' -c 'EXPOSE 80' -c 'CMD ["nginx", "-g", "daemon off;"]' \
        -c "LABEL $label=$(content proxy)" - "$proxy" >/dev/null
}

for image in builder proxy; do
    name=${!image}
    if [ "$force" != --force ] && up_to_date "$image" "$name"; then
        say "$name is there"
        continue
    fi
    say "building $name"
    started=$SECONDS
    "build_$image"
    say "built $name in $((SECONDS - started)) s"
done
