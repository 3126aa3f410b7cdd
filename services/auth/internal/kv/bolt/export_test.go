package bolt

import "go.etcd.io/bbolt"

// How long Open waits for a file that another process holds, when nothing is said and at most.
const (
	DefaultTimeout = defaultTimeout
	MaxTimeout     = maxTimeout
)

// InterceptCommits makes every later commit run fn, which may call commit, in its place.
func (db *DB) InterceptCommits(fn func(commit func() error) error) {
	db.commit = func(btx *bbolt.Tx) error { return fn(btx.Commit) }
}

// VerifyFile is the check of the untrusted file that Open (full false) and Check (full true) make.
var VerifyFile = func(r readerAt, full bool) error {
	m, err := readMeta(r, r.Size())
	if err != nil {
		return err
	}
	return verify(r, m, full)
}

type readerAt interface {
	ReadAt(p []byte, off int64) (int, error)
	Size() int64
}
