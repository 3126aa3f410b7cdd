// Package testapp holds the sample application, kv-store: a store of texts under texts that also shows what an
// application can ask of the node, and what it can do wrong. Tests run it, and so does the walk-through of the README.
//
// Its source is in src, its methods are in the ABI. The modules are what deploy/scripts/app.sh makes of the source; a
// test holds them to it.
package testapp

import _ "embed"

// The modules. V2 is the next version; its method migrate_v1_to_v2 takes over the state of the first.
var (
	//go:embed kv-store.wasm
	KVStore []byte
	//go:embed kv-store-v2.wasm
	KVStoreV2 []byte
)

// The ABIs of the modules, in JSON.
var (
	//go:embed kv-store.abi.json
	KVStoreABI []byte
	//go:embed kv-store-v2.abi.json
	KVStoreV2ABI []byte
)
