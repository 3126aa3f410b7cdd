# shellcheck shell=bash
# Sourced by scripts that go on after a failure and report it at the end.

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
