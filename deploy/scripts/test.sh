#!/usr/bin/env bash
# Runs kinds of tests over all modules and ends with a line that counts them.
#
#   deploy/scripts/test.sh KIND...
#
#   unit      without the race detector: pkg, what no test under it reaches, what is compiled differently without cgo
#             (as the images are), and what the build tag "mock" brings
#   race      every test of every product module under the race detector
#   e2e       deploy/e2e: the shipped nginx configuration and the real binaries
#   root      the tests with the build tag "root" (they mount file systems of their own)
#   soak      the tests with the build tag "soak", for MERO_SOAK
#   compose   the compose file, unmodified, on a Docker engine of its own
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/attempt.sh
. deploy/scripts/attempt.sh
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

# tagged CONSTRAINT: the packages with tests that only builds with this tag, or with "!TAG" without it, bring, as "module
# package" lines.
tagged() {
    local module file
    for module in $(deploy/scripts/modules.sh); do
        grep -rlE --include='*_test.go' --exclude-dir=node_modules "^//go:build (.*[ (])?$1\b" "$module" |
            while read -r file; do printf '%s ./%s\n' "$module" "$(dirname "${file#"$module"/}")"; done | sort -u ||
            true # a module without such tests
    done
}

# run_in: reads "module package" lines and runs the tests of the packages with the given ARGUMENTS.
run_in() {
    local module package ok=0
    while read -r module package; do
        (cd "$module" && "$here/gotest.sh" "$@" "$package") </dev/null || ok=1
    done
    return "$ok"
}

# run_tagged TAG ARGUMENTS...
run_tagged() {
    local tag=$1 packages
    shift
    packages=$(tagged "$tag")
    [ -n "$packages" ] || { echo "no test carries the build tag $tag"; return 1; }
    run_in -tags "$tag" "$@" <<<"$packages"
}

# What the race detector leaves out, what is compiled differently without cgo (Ethereum signatures), and what only a build
# tag brings. Everything else is tested once, under the race detector; the end-to-end tests run the binaries as they ship.
test_unit() {
    local ok=0
    export CGO_ENABLED=0
    (cd pkg && "$here/gotest.sh" -timeout 5m ./...) || ok=1
    tagged '!race' | grep -v '^pkg ' | run_in -timeout 5m || ok=1
    (cd services/auth && "$here/gotest.sh" -timeout 5m ./internal/provider/... ./internal/token/...) || ok=1
    run_tagged mock || ok=1
    return "$ok"
}

test_race() { CGO_ENABLED=1 each "$here/gotest.sh" -race -timeout 8m ./...; }

test_e2e() {
    [ -f deploy/e2e/go.mod ] || { echo "there is no module deploy/e2e"; return 1; }
    make build
    (cd deploy/e2e && "$here/gotest.sh" -count=1 -timeout 20m ./...)
}

test_root() { run_tagged root -count=1; }

test_soak() { run_tagged soak -count=1 -timeout 0; }

test_compose() { deploy/scripts/compose-test.sh; }

# What is missing is said before anything runs, not after minutes.
packages=()
for kind; do
    case $kind in
    unit | soak) ;;
    race | e2e) packages+=(test) ;;
    root | compose)
        packages+=(test root)
        [ "$(id -u)" = 0 ] || { echo "$kind tests need root" >&2; exit 1; }
        ;;
    *) echo "no such kind of test: $kind" >&2; exit 2 ;;
    esac
done
[ ${#packages[@]} = 0 ] || deploy/scripts/packages.sh "${packages[@]}"

failed=() code=0
for kind; do
    say "$kind tests"
    started=$SECONDS
    attempt "test_$kind"
    [ "$code" = 0 ] || failed+=("$kind")
    echo "== $kind tests took $((SECONDS - started)) s"
done

[ ${#failed[@]} = 0 ] || say "failed: ${failed[*]}"
# One closing line in the form of the common test runners. What failed without a test that did is a failure, too.
awk -v broken=${#failed[@]} '
    { p += $1; f += $2; s += $3 }
    END { if (broken && !f) f = 1; printf "\n%d passed, %d failed, %d skipped\n", p, f, s }' "$MERO_TEST_COUNTS"
[ ${#failed[@]} = 0 ]
