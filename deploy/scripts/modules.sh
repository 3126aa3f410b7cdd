#!/usr/bin/env bash
# Prints the directories of the modules that go.work lists, one a line.
set -euo pipefail
cd "$(dirname "$0")/../.."
awk '/^use \(/ { list = 1; next } list && /^\)/ { list = 0 } list { print $1 } /^use [^(]/ { print $2 }' go.work | sed 's,^\./,,'
