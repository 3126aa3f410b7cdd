#!/usr/bin/env bash
# Runs `go test -v ARGUMENTS` in the current directory and shows one line for each package, with the whole output of
# those that failed. Adds what it counted ("passed failed skipped") to the file that MERO_TEST_COUNTS names.
set -uo pipefail
go test -v "$@" 2>&1 | awk -v counts="${MERO_TEST_COUNTS:-/dev/null}" '
    function show(text) { if (text !~ /^=== |^ *--- PASS: |^PASS$|^FAIL$/) print text }
    { line[++lines] = $0 }
    /^ *--- PASS: / { passed++ }
    /^ *--- FAIL: / { failed++ }
    /^ *--- SKIP: / { skipped++; print }
    /\[no test files\]$/ { lines = 0 }
    /^ok  \t/ { print; lines = 0 }
    /^FAIL\t/ { broken = 1; for (i = 1; i <= lines; i++) show(line[i]); lines = 0 }
    END {
        for (i = 1; i <= lines; i++) show(line[i])
        if (broken && !failed) failed = 1 # it did not build, or it crashed
        print passed + 0, failed + 0, skipped + 0 >>counts
    }'
exit "${PIPESTATUS[0]}"
