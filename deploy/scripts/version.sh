#!/usr/bin/env bash
# Prints the version that builds are stamped with: the nearest tag with what came after it.
cd "$(dirname "$0")/../.." && git describe --tags --dirty --match 'v*' 2>/dev/null || echo 0.0.0-dev
