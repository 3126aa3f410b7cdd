package password

// SetHash replaces argon2id before the first use of p.
func SetHash(p *Provider, hash func(password, salt []byte, passes, memory uint32, lanes uint8, size uint32) []byte) {
	p.hash = hash
}

// Reserialise parses a PHC string and writes it again.
func Reserialise(text string) (string, error) {
	r, err := parsePHC(text)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}
