#!/usr/bin/env bash
# Makes sure that the distribution packages of some groups of deploy/packages.txt are there: as root it installs what is
# missing and says so, otherwise it stops with the one line to run.
#
#   deploy/scripts/packages.sh GROUP...
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=deploy/scripts/attempt.sh
. deploy/scripts/attempt.sh
PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "packages: $*" >&2; }
die() { say "$*"; exit 1; }

installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

# wanted GROUP: "package command" lines of the group; "-" when the package brings no command to look for.
wanted() {
    awk -v group="$1" '!/^#/ && $1 == group { print $2, $3 }' deploy/packages.txt
    if [ "$1" = test ] && [ -f deploy/e2e/packages.txt ]; then
        awk '!/^#/ && NF { print $1, "-" }' deploy/e2e/packages.txt
    fi
}

missing=()
for group; do
    while read -r package command; do
        if [ "$command" = - ]; then
            # Another distribution has other names; there the build says what it lacks.
            ! command -v dpkg-query >/dev/null || installed "$package" || missing+=("$package")
        elif ! command -v "$command" >/dev/null; then
            missing+=("$package")
        fi
    done < <(wanted "$group")
done
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

line="apt-get install -y --no-install-recommends ${missing[*]}"
command -v apt-get >/dev/null || die "install these (Debian's names): ${missing[*]}"
[ "$(id -u)" = 0 ] || die "missing packages; run as root: $line"

# The packages are wanted for their programs: keep their services (nginx on port 80, a Docker engine) from starting.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
say "installing: ${missing[*]}"
log=$(mktemp)
# A mirror may be away for a moment, and something else (a machine's first update) may hold the lock.
get() { apt-get update && DEBIAN_FRONTEND=noninteractive $line -o DPkg::Lock::Timeout=120; }
if ! again get >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "could not install; log: $log"
fi
rm -f "$log"
