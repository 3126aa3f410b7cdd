#!/usr/bin/env bash
# Compiles the sample application into a directory: kv-store.wasm, and kv-store-v2.wasm, the next version.
#
#   deploy/scripts/app.sh DIRECTORY
#
# It takes clang and lld of LLVM 14, as Debian 12 has them: services/node/testapp holds the modules that come out, and
# a test compares them byte for byte. MERO_CLANG names another compiler.
set -euo pipefail
cd "$(dirname "$0")/../.."
into=${1:?usage: deploy/scripts/app.sh DIRECTORY}
clang=${MERO_CLANG:-clang-14}
command -v "$clang" >/dev/null || { echo "app.sh: no $clang here; run deploy/scripts/packages.sh test" >&2; exit 1; }
mkdir -p "$into"
into=$(cd "$into" && pwd)
cd services/node/testapp/src

# compile OUTPUT MACRO
compile() {
    "$clang" --target=wasm32 -std=c11 -O2 -ffreestanding -nostdlib -fno-builtin-memcpy \
        -Wall -Wextra -Werror -Wno-unused-function "-D$2" \
        -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=32768 -o "$into/$1" kv_store.c
}
compile kv-store.wasm V1
compile kv-store-v2.wasm V2
