package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The bounds of a PHC string that is accepted. A record beyond them was not made by this service, and checking a
// password against it could take gigabytes.
const (
	maxPHC = 256 // bytes

	minMemory   = 8       // KiB for each lane (RFC 9106, section 3.1)
	maxMemory   = 1 << 20 // KiB
	maxPasses   = 64
	maxLanes    = 16
	minSalt     = 8 // bytes (RFC 9106, section 3.1)
	maxSalt     = 64
	minChecksum = 16
	maxChecksum = 64
)

var errPHC = errors.New("malformed PHC string")

// cost is how expensive a hash is made.
type cost struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
}

// record is a password hash with all that is needed to check a password.
type record struct {
	cost
	salt     []byte
	checksum []byte
}

// String writes the record as a PHC string: $argon2id$v=19$m=…,t=…,p=…$salt$checksum.
func (r record) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s",
		r.memory, r.passes, r.lanes, b64.EncodeToString(r.salt), b64.EncodeToString(r.checksum))
}

// parsePHC reads what [record.String] writes, and nothing else: no other function or version, no key id or
// data, no other order of parameters, one spelling of each number and of the base64. Errors hold no part of it.
func parsePHC(text string) (record, error) {
	if len(text) > maxPHC {
		return record{}, fmt.Errorf("%w: longer than %d bytes", errPHC, maxPHC)
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return record{}, fmt.Errorf("%w: not argon2id of version 19", errPHC)
	}
	c, err := parseCost(parts[3])
	if err != nil {
		return record{}, err
	}
	r := record{cost: c}
	if r.salt, err = decodeBytes(parts[4], minSalt, maxSalt); err != nil {
		return record{}, fmt.Errorf("%w: salt", err)
	}
	if r.checksum, err = decodeBytes(parts[5], minChecksum, maxChecksum); err != nil {
		return record{}, fmt.Errorf("%w: checksum", err)
	}
	return r, nil
}

func parseCost(text string) (cost, error) {
	params := strings.Split(text, ",")
	if len(params) != 3 {
		return cost{}, fmt.Errorf("%w: not the three parameters m, t and p", errPHC)
	}
	lanes, okP := parseParam(params[2], "p=", 1, maxLanes)
	memory, okM := parseParam(params[0], "m=", minMemory*lanes, maxMemory)
	passes, okT := parseParam(params[1], "t=", 1, maxPasses)
	if !okP || !okM || !okT {
		return cost{}, fmt.Errorf("%w: m, t or p is malformed or out of bounds", errPHC)
	}
	return cost{memory: memory, passes: passes, lanes: uint8(lanes)}, nil //nolint:gosec // at most maxLanes
}

func parseParam(text, name string, lowest, highest uint32) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, false
	}
	v := uint32(n)
	return v, lowest <= v && v <= highest
}

// decodeBytes reads unpadded base64 of a length within bounds. Encoding again refuses the line ends that the
// decoder skips and the stray bits that it drops.
func decodeBytes(text string, shortest, longest int) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || base64.RawStdEncoding.EncodeToString(b) != text {
		return nil, fmt.Errorf("%w: not base64", errPHC)
	}
	if len(b) < shortest || len(b) > longest {
		return nil, fmt.Errorf("%w: length out of bounds", errPHC)
	}
	return b, nil
}
