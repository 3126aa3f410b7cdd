#!/usr/bin/env bash
# Checks everything that needs no test run: format, vet, lint, import order, module files, the builds of each module,
# shell scripts, the nginx configuration and the compose file. Goes on after a failure and names all of them at the end.
#
#   deploy/scripts/check.sh [PART...]      without PART everything
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/attempt.sh
. deploy/scripts/attempt.sh
export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 # one set of compiled packages for all parts, as the images have
PATH=$PATH:/usr/sbin

golangci_version=2.15.0
golangci=$PWD/.tools/golangci-lint

# linter: makes sure that $golangci is the pinned version.
linter() {
    local found
    for found in "$golangci" "$(command -v golangci-lint || true)"; do
        if [ -x "$found" ] && "$found" version 2>/dev/null | grep -q "version v\?$golangci_version "; then
            golangci=$found
            return
        fi
    done
    echo "installing golangci-lint v$golangci_version into .tools (about two minutes)"
    GOBIN=$PWD/.tools again go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$golangci_version"
}

# Every build tag that adds code. What a tag leaves out is in the build without tags.
tags=mock,noembed,root,soak

# each COMMAND...: runs COMMAND in every module.
each() {
    local module ok=0
    for module in $(deploy/scripts/modules.sh); do
        (cd "$module" && "$@") || { echo "  in $module"; ok=1; }
    done
    return "$ok"
}

check_workspace() {
    diff <(deploy/scripts/modules.sh | sort) <(git ls-files -co --exclude-standard | sed -n 's,/go\.mod$,,p' | sort) ||
        { echo "go.work and the go.mod files differ"; return 1; }
}

# tidy: a difference is told at once; modules that did not come (on a new machine this is what downloads them) are asked for
# again.
tidy() {
    local diff try
    for try in 1 2 3; do
        diff=$(go mod tidy -diff) && return
        [ -z "$diff" ] || break
        [ "$try" = 3 ] || sleep 5
    done
    printf '%s\n' "$diff"
    return 1
}

check_tidy() { each tidy; }

check_format() {
    linter
    each "$golangci" fmt --diff
}

# tagged: the modules with code behind one of these tags.
tagged() {
    local module
    for module in $(deploy/scripts/modules.sh); do
        ! grep -rqE --include='*.go' --exclude-dir=node_modules "^//go:build.*\b(${tags//,/|})\b" "$module" || echo "$module"
    done
}

# The builds that are run: each tag by itself, and the two kinds of tests that are made with them.
check_vet() {
    local module tag ok=0
    each go vet ./... || ok=1
    for module in $(tagged); do
        for tag in mock noembed root soak; do
            go -C "$module" vet -tags "$tag" ./... || { echo "  in $module with -tags $tag"; ok=1; }
        done
    done
    return "$ok"
}

check_lint() {
    local module ok=0
    linter
    "$golangci" config verify
    each "$golangci" run || ok=1
    for module in $(tagged); do
        (cd "$module" && "$golangci" run --build-tags "$tags") || { echo "  in $module with --build-tags $tags"; ok=1; }
    done
    return "$ok"
}

# The tests that read what imports what; every imports_test.go holds nothing else.
check_imports() {
    local file ok=0
    for file in $(git ls-files -co --exclude-standard '*imports_test.go'); do
        go -C "$(dirname "$file")" test -run 'Import' . || ok=1
    done
    return "$ok"
}

# Each module by itself, as the images build it.
check_builds() {
    each go build ./... &&
        go -C services/node build -tags noembed ./... &&
        go -C services/auth build -tags mock ./...
}

check_scripts() {
    local script scripts=() ok=0
    mapfile -t scripts < <(git ls-files -co --exclude-standard '*.sh' '.ci/run')
    [ ${#scripts[@]} -gt 0 ] || { echo "no scripts found"; return 1; }
    for script in "${scripts[@]}"; do
        bash -n "$script" || ok=1
    done
    if command -v shellcheck >/dev/null; then
        shellcheck -x -P . "${scripts[@]}" || ok=1
    else
        echo "no shellcheck here: left out"
    fi
    return "$ok"
}

# The shipped configuration with both sets of addresses, by a real nginx where there is one.
check_nginx() {
    local dir kind ok=0
    command -v nginx >/dev/null || { echo "no nginx here: left out"; return; }
    dir=$(mktemp -d)
    for kind in native compose; do
        cp nginx/mero.conf "$dir/"
        sed 's/mero-auth:/127.0.0.1:/; s/mero-node:/127.0.0.1:/' "nginx/upstreams.$kind.conf" >"$dir/upstreams.conf"
        cp "nginx/listen.$kind.conf" "$dir/listen.conf"
        nginx -t -q -e stderr -p "$dir/" -c "$dir/mero.conf" || ok=1
    done
    rm -rf "$dir"
    return "$ok"
}

# The compose file with either proxy. This needs no engine.
check_compose() {
    local compose profile ok=0
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        echo "no Docker Compose here: left out"
        return
    fi
    for profile in nginx traefik; do
        COMPOSE_PROFILES=$profile "${compose[@]}" config -q || { echo "  with the profile $profile"; ok=1; }
    done
    return "$ok"
}

parts=(workspace tidy format vet lint imports builds scripts nginx compose)
for part; do
    [[ " ${parts[*]} " = *" $part "* ]] || { echo "there is no part $part; the parts are: ${parts[*]}" >&2; exit 2; }
done
[ $# = 0 ] || parts=("$@")

failed=() code=0
for part in "${parts[@]}"; do
    printf '== check: %s\n' "$part"
    started=$SECONDS
    attempt "check_$part"
    [ "$code" = 0 ] || failed+=("$part")
    [ $((SECONDS - started)) -lt 5 ] || echo "   took $((SECONDS - started)) s"
done
[ ${#failed[@]} = 0 ] || { echo "check failed: ${failed[*]}"; exit 1; }
echo "check passed"
