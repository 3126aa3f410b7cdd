#!/usr/bin/env bash
# Runs kinds of tests over all modules and ends with a line that counts them.
#
#   deploy/scripts/test.sh KIND...
#
#   unit      every test of every module, built as the images are (no cgo), and those with the build tag "mock"
#   race      the same under the race detector
#   e2e       deploy/e2e: the shipped nginx configuration and the real binaries
#   root      the tests with the build tag "root" (they mount file systems of their own)
#   soak      the tests with the build tag "soak", for MERO_SOAK
#   compose   the compose file, unmodified, on a Docker engine of its own
set -euo pipefail
cd "$(dirname "$0")/../.."
export GOTOOLCHAIN=local GOWORK=off
here=$PWD/deploy/scripts

MERO_TEST_COUNTS=$(mktemp)
export MERO_TEST_COUNTS
trap 'rm -f "$MERO_TEST_COUNTS"' EXIT

say() { printf '\n== %s\n' "$*"; }
services() { deploy/scripts/modules.sh | grep -v '^deploy/'; }

# each COMMAND...: runs COMMAND in the directory of every product module; fails when one of them failed.
each() {
    local module ok=0
    for module in $(services); do
        (cd "$module" && "$@") || ok=1
    done
    return "$ok"
}

# tagged TAG: the packages with tests that only this build tag brings, as "module package" lines.
tagged() {
    local module file
    for module in $(deploy/scripts/modules.sh); do
        grep -rl --include='*_test.go' --exclude-dir=node_modules "^//go:build.*\b$1\b" "$module" |
            while read -r file; do printf '%s ./%s\n' "$module" "$(dirname "${file#"$module"/}")"; done | sort -u ||
            true # a module without such tests
    done
}

# run_tagged TAG ARGUMENTS...
run_tagged() {
    local tag=$1 module package ok=0 any=''
    shift
    while read -r module package; do
        any=yes
        (cd "$module" && "$here/gotest.sh" -tags "$tag" "$@" "$package") </dev/null || ok=1
    done < <(tagged "$tag")
    [ -n "$any" ] || echo "no test carries the build tag $tag"
    return "$ok"
}

# What is compiled differently without cgo (Ethereum signatures), and what only a build tag brings. Everything else is
# tested once, under the race detector; the end-to-end tests run the binaries as they ship, without cgo.
test_unit() {
    local ok=0
    (cd services/auth && CGO_ENABLED=0 "$here/gotest.sh" -timeout 5m ./internal/provider/... ./internal/token/...) || ok=1
    CGO_ENABLED=0 run_tagged mock || ok=1
    return "$ok"
}

test_race() { CGO_ENABLED=1 each "$here/gotest.sh" -race -timeout 8m ./...; }

test_e2e() {
    [ -f deploy/e2e/go.mod ] || { echo "there is no module deploy/e2e"; return 1; }
    make build
    (cd deploy/e2e && "$here/gotest.sh" -count=1 -timeout 20m ./...)
}

test_root() {
    [ "$(id -u)" = 0 ] || { echo "these tests need root"; return 1; }
    run_tagged root -count=1
}

test_soak() { run_tagged soak -count=1 -timeout 0; }

test_compose() {
    [ "$(id -u)" = 0 ] || { echo "a Docker engine needs root"; return 1; }
    deploy/scripts/compose-test.sh
}

failed=()
for kind; do
    case $kind in
    unit | soak) ;;
    race | e2e) deploy/scripts/packages.sh test ;;
    root | compose) deploy/scripts/packages.sh test root ;;
    *) echo "no such kind of test: $kind" >&2; exit 2 ;;
    esac
    say "$kind tests"
    started=$SECONDS
    "test_$kind" || failed+=("$kind")
    echo "== $kind tests took $((SECONDS - started)) s"
done

[ ${#failed[@]} = 0 ] || say "failed: ${failed[*]}"
# One closing line in the form of the common test runners.
awk '{ p += $1; f += $2; s += $3 } END { printf "\n%d passed, %d failed, %d skipped\n", p, f, s }' "$MERO_TEST_COUNTS"
[ ${#failed[@]} = 0 ]
