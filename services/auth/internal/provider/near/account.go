package near

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// accountID is the grammar of NEAR account ids, with the length of 2 to 64 characters checked beside it.
var accountID = regexp.MustCompile(`^(([a-z0-9]+[-_])*[a-z0-9]+\.)*([a-z0-9]+[-_])*[a-z0-9]+$`)

// derived are the account ids that belong to no NEAR key: Ethereum addresses and hashes of contract states. Nobody can
// sign for them as NEP-413 says.
var derived = regexp.MustCompile(`^0[xs][0-9a-f]{40}$`)

// topLevel is the account under which people register their names on a public network.
var topLevel = map[string]string{"mainnet": "near", "testnet": "testnet"}

// checkAccount applies the grammar of account ids and refuses names of the other public network: the account would be
// looked for, and could be registered, on a network where the name means nobody that the owner of the node knows.
func checkAccount(network, account string) error {
	if len(account) < 2 || len(account) > 64 || !accountID.MatchString(account) {
		return errors.New("not a NEAR account id")
	}
	if derived.MatchString(account) {
		return errors.New("accounts that are derived from an Ethereum address or a contract cannot log in with a NEAR key")
	}
	if _, public := topLevel[network]; !public {
		return nil
	}
	for other, suffix := range topLevel {
		if other != network && (account == suffix || strings.HasSuffix(account, "."+suffix)) {
			return fmt.Errorf("this is an account of %s, the node accepts accounts of %s", other, network)
		}
	}
	return nil
}

// implicitOf reports whether account is the implicit account of key: its 32 bytes in lower-case hex.
func implicitOf(account string, key publicKey) bool {
	return account == hex.EncodeToString(key[:])
}
