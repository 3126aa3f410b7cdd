# shellcheck shell=bash
# Sourced by scripts that go on after a failure: to report it at the end, or to try again.

# attempt COMMAND...: runs COMMAND in a subshell that ends at its first error, and sets code to its exit code. It must
# stand by itself: bash ignores errexit in everything that is called before ||, && or in a condition, subshells included.
attempt() {
    set +e
    (
        set -e
        "$@"
    )
    # shellcheck disable=SC2034 # for the caller
    code=$?
    set -e
}

# again COMMAND...: runs COMMAND, which asks a network for something, until it succeeds, at most three times.
again() {
    local try
    for try in 1 2 3; do
        "$@" && return 0
        [ "$try" = 3 ] || { echo "try $try failed: $*" >&2; sleep 5; }
    done
    return 1
}
