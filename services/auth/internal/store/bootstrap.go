package store

import "errors"

// Bootstrap is the state of the one-time secret that lets the first root key in.
type Bootstrap struct {
	V       int    `json:"v"`
	SHA256  []byte `json:"sha256,omitempty"` // of the normalised secret
	Expires int64  `json:"expires,omitempty"`
	Closed  bool   `json:"closed,omitempty"` // a root key existed once; never opens again by itself

	// Recovery says that an operator on the host opened it once more, although root keys exist.
	Recovery bool `json:"recovery,omitempty"`
}

// Bootstrap returns the state; the zero state when none was stored yet.
func (tx *Tx) Bootstrap() (Bootstrap, error) {
	var b Bootstrap
	if err := get(tx.Tx, bucketSystem, "bootstrap", &b); err != nil && !errors.Is(err, ErrNotFound) {
		return Bootstrap{}, err
	}
	return b, nil
}

// PutBootstrap stores the state.
func (tx *Tx) PutBootstrap(b Bootstrap) error {
	b.V = schema
	return put(tx.Tx, bucketSystem, "bootstrap", b)
}
