#!/usr/bin/env bash
# Packs the sample application into a signed bundle, DIRECTORY/kv-store.mpk, with bin/mero-bundle. The key that signs it
# is made at the first time and kept beside it, so that the application keeps its id.
#
#   deploy/scripts/bundle.sh DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."
into=${1:?usage: deploy/scripts/bundle.sh DIRECTORY}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$into"
key=$into/kv-store.key.json
[ -e "$key" ] || bin/mero-bundle key "$key" >/dev/null
cp services/node/testapp/{manifest.json,kv-store.wasm,kv-store.abi.json} "$work/"
bin/mero-bundle pack -key "$key" -out "$into/kv-store.mpk" "$work"
