package seal

import (
	"crypto/sha256"
	"encoding/hex"
)

// minDistinct is the least number of different bytes in a random key. 32 random bytes have about 30; fewer than 16
// happen less often than once in 10^19 keys.
const minDistinct = 16

// Published reports whether everybody can know a key of 32 bytes: it is one of the keys in the published test
// vectors of this project, or a pattern like zeros or counting bytes. Nothing may be protected by it.
func Published(key []byte) bool {
	distinct := make(map[byte]bool)
	steps := make(map[byte]bool)
	for i, b := range key {
		distinct[b] = true
		if i > 0 {
			steps[b-key[i-1]] = true
		}
	}
	sum := sha256.Sum256(key)
	return len(distinct) < minDistinct || len(steps) == 1 || published[hex.EncodeToString(sum[:])]
}

// published holds the SHA-256 of the keys; those that count upwards need no entry.
var published = map[string]bool{
	// Ethereum (SIWE)
	"8f87d1e84d546d9e836d7ee42d31bd53b774f436b0424fc3557597e075ba37b8": true,
	"c3d3fc53ad223fd5a02c7640e523b59f9b03085a6718246e1452cc832ab7b2dc": true,
	"364e3ecd422635094e3ba22b1d05051cc1a2fd319348f88f43d206cfe77c1360": true,
	// NEAR (NEP-413)
	"19fdf6f0d209de5c37723873fbac04dd1fda93b5f2ff11bc9651fee39bd511f4": true,
	"3800290d9dfee60b08eda4730e45fcff7c943fd5b08deb77cad1dbc9409905f2": true,
	"6aea16b86db2ff5aea07e22fcc59efb575d83b2848f242376bb9940bf52f5a08": true,
	"784b011af7d3e24f07162645dd80b1eb105ddbc5d5c7a8c35dfe57572d3a1094": true,
	"1d36b4a7a3b05d2e45cf90ae2614ed3c580c7013b39962f1fe0475d8204eeebd": true,
	// HTTP signatures (RFC 9421)
	"afeb8935663e61e5731e2a35bd29cbb5eee3345fc7c69f702c465127ed43d338": true,
	"a7228e53a4a37f0c20fe6e9f921b6e47a2dfcae0dc6bb78bf3333ab1b711ab56": true,
	"2b3cb3d417eda154aba1345d8e83c646ec6b9e2f1aaf82107a4b2798254ebe86": true,
	"7d98821570b0de2374f6795c800352ce2d814deeaec07fbf86037c99f8a3d149": true,
}
