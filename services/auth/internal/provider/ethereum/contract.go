package ethereum

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// maxContractSignature is the size limit of a contract wallet's signature in bytes: that of a few dozen owners, or of
// a passkey.
const maxContractSignature = 4 << 10

// contractTimeout bounds the three questions to the RPC node together.
const contractTimeout = 2 * jsonrpc.DefaultTimeout

// contractGas bounds the work that a contract, which may be anybody's, can make the node do. Wallets need a few hundred
// thousand, those that check another curve in code a few million.
const contractGas = 10_000_000

// word is the unit of the contract ABI in bytes.
const word = 32

// isValidSignature is the selector of isValidSignature(bytes32,bytes), and what a contract answers to say yes (EIP-1271).
var isValidSignature = [4]byte{0x16, 0x26, 0xba, 0x7e}

// verifyContract asks the contract at account whether it takes signature for one of hash (EIP-1271). The RPC node must
// be one of the chain that the message names: the same address is somebody else's contract on another chain. Only the
// magic value is a yes; an address without code, a contract that fails and every other answer are
// [provider.ErrRejected]. An RPC node that does not do its part is [provider.ErrUnavailable].
func (p *Provider) verifyContract(ctx context.Context, account address, chainID uint64, hash, signature []byte) error {
	ctx, cancel := context.WithTimeout(ctx, contractTimeout)
	defer cancel()
	chain, err := p.ask(ctx, "eth_chainId")
	if err != nil {
		return err
	}
	if id, valid := parseQuantity(chain); !valid {
		return unusable("eth_chainId")
	} else if id != chainID {
		return fmt.Errorf("%w: contract wallets of chain %d cannot be asked, only those of chain %d", provider.ErrRejected, chainID, id)
	}
	code, err := p.ask(ctx, "eth_getCode", account.lower(), "latest")
	if err != nil {
		return err
	}
	if b, valid := parseData(code); !valid {
		return unusable("eth_getCode")
	} else if len(b) == 0 {
		return fmt.Errorf("%w: %w", provider.ErrRejected, notSignedBy(account))
	}
	call := map[string]string{
		"to": account.lower(), "data": "0x" + hex.EncodeToString(callData(hash, signature)), "gas": "0x" + strconv.FormatUint(contractGas, 16),
	}
	answer, err := p.ask(ctx, "eth_call", call, "latest")
	if refused, is := errors.AsType[*jsonrpc.Error](err); is && contractFailed(refused.Code) {
		return fmt.Errorf("%w: %w", provider.ErrRejected, notSignedBy(account))
	}
	if err != nil {
		return err
	}
	b, valid := parseData(answer)
	if !valid {
		return unusable("eth_call")
	}
	// An ABI word. A contract that returns what it was given, or more than a word, says nothing.
	yes := [word]byte{}
	copy(yes[:], isValidSignature[:])
	if !slices.Equal(b, yes[:]) {
		return fmt.Errorf("%w: %w", provider.ErrRejected, notSignedBy(account))
	}
	return nil
}

// contractFailed reports whether an error of eth_call is the contract's and not the node's: reverted (3), or one of the
// codes under which nodes report an execution that ended badly.
func contractFailed(code int64) bool { return code == 3 || code == -32000 || code == -32015 }

// ask returns the text that a method results in. An error of the node is also an *[jsonrpc.Error].
func (p *Provider) ask(ctx context.Context, method string, params ...any) (string, error) {
	if params == nil {
		params = []any{}
	}
	result, err := p.RPC.Call(ctx, method, params)
	if _, refused := errors.AsType[*jsonrpc.Error](err); refused || errors.Is(err, jsonrpc.ErrUnavailable) {
		return "", fmt.Errorf("%w: %s: %w", provider.ErrUnavailable, method, err)
	}
	if err != nil {
		return "", err
	}
	return textOf(result, method)
}

func textOf(result json.RawMessage, method string) (string, error) {
	text, is := jsonrpc.Text(result)
	if !is {
		return "", unusable(method)
	}
	return text, nil
}

func unusable(method string) error {
	return fmt.Errorf("%w: the RPC server's answer to %s is none", provider.ErrUnavailable, method)
}

// callData encodes isValidSignature(hash, signature): the selector, the hash, where the bytes begin, their length, and
// the bytes up to a full word.
func callData(hash, signature []byte) []byte {
	var offset, length [word]byte
	offset[word-1] = 2 * word
	binary.BigEndian.PutUint64(length[word-8:], uint64(len(signature)))
	padding := make([]byte, (word-len(signature)%word)%word)
	return slices.Concat(isValidSignature[:], hash, offset[:], length[:], signature, padding)
}

// contractSignature reads the bytes that a contract is to judge; false when there are none to read.
func contractSignature(text string) ([]byte, bool) {
	b, valid := parseData(text)
	return b, valid && len(b) <= maxContractSignature
}

// parseData reads 0x and an even number of hex digits.
func parseData(text string) ([]byte, bool) {
	digits, prefixed := strings.CutPrefix(text, "0x")
	b, err := hex.DecodeString(digits)
	return b, prefixed && err == nil
}

// parseQuantity reads 0x and the shortest hex form of a number of 64 bits.
func parseQuantity(text string) (uint64, bool) {
	digits, prefixed := strings.CutPrefix(text, "0x")
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, prefixed && err == nil && strconv.FormatUint(n, 16) == strings.ToLower(digits)
}
