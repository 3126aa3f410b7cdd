package ethereum

// Reserialise parses a message and writes it again.
func Reserialise(text string) (string, error) {
	m, err := parseMessage(text)
	if err != nil {
		return "", err
	}
	return m.String(), nil
}

// PersonalHash is the digest of personal_sign.
var PersonalHash = personalHash

// DecodeSignature reads a signature into r, s and a recovery id of 0 or 1.
func DecodeSignature(text string) ([65]byte, error) {
	return decodeSignature(text)
}

// Recover returns the EIP-55 address whose key made a decoded signature over hash.
func Recover(hash []byte, sig [65]byte) (string, error) {
	a, err := recoverSigner(hash, sig)
	if err != nil {
		return "", err
	}
	return a.checksummed(), nil
}

// Checksummed reads an address and writes it with its EIP-55 checksum.
func Checksummed(text string) (string, error) {
	a, err := parseAddress(text)
	if err != nil {
		return "", err
	}
	return a.checksummed(), nil
}

// ParseQuantity reads a number as RPC nodes write it.
var ParseQuantity = parseQuantity
