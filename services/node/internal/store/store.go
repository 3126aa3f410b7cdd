// Package store is the node's database: typed records in one bbolt file, read and changed in transactions that
// are all or nothing. It is the only importer of bbolt.
//
// Values are JSON with a version member "v", but for what applications store (as they wrote it) and the delta log
// (Borsh); keys are raw ids, so that a bucket is ordered by id. Private keys are stored as they are: the file is 0600
// in a directory of mode 0700, like the node's configuration.
package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The errors that callers tell apart. They are wrapped.
var (
	ErrNotFound = errors.New("not found")
	ErrInUse    = errors.New("in use")
	ErrExists   = errors.New("exists already")
	ErrClosed   = errors.New("the database is closed")
	ErrLocked   = errors.New("another process holds the database")
	ErrSchema   = errors.New("the database has a format that this build does not know")
)

// LockTimeout is how long Open waits for another process to let go of the file.
const LockTimeout = 5 * time.Second

const (
	fileName = "node.db"
	schema   = 1
)

// The buckets. A new kind of record adds one here.
var (
	bucketMeta       = []byte("meta")
	bucketIdentities = []byte("identities")  // context id, public key -> identity
	bucketContexts   = []byte("contexts")    // context id -> Context
	bucketDeadStates = []byte("dead_states") // context id -> "", deleted contexts whose entries are yet to be removed
	bucketState      = []byte("state")       // context id, key -> what the application stored
	bucketPrivate    = []byte("private")     // context id, key -> what it stored for this node alone
	bucketDeltas     = []byte("deltas")      // context id, delta id -> Delta
	bucketAliases    = []byte("aliases")     // kind, scope, name -> Alias
	bucketGroups     = []byte("groups")      // group id -> Group
	bucketMembers    = []byte("members")     // group id, account key -> Member
	bucketGrouped    = []byte("grouped")     // group id, context id -> ""
	bucketBlobs      = []byte("blobs")       // blob id -> Blob
	bucketBlobChunks = []byte("blob_chunks") // blob id -> chunk ids, joined
	bucketChunkRefs  = []byte("chunk_refs")  // chunk id -> how many places of blobs hold it, 8 bytes big-endian
	bucketDeadChunks = []byte("dead_chunks") // chunk id -> "", chunks whose file is yet to be removed
	bucketEvents     = []byte("events")      // sequence number, 8 bytes big-endian -> Event
	bucketSessions   = []byte("sessions")    // SSE session id, 8 bytes big-endian -> Session

	bucketApplications = []byte("applications")         // application id -> the blob of the version installed last
	bucketVersions     = []byte("application_versions") // application id, blob id -> Application
	bucketABIs         = []byte("application_abis")     // application id, blob id, service -> JSON text

	buckets = [][]byte{
		bucketMeta, bucketIdentities, bucketContexts, bucketBlobs, bucketBlobChunks, bucketChunkRefs, bucketDeadChunks,
		bucketApplications, bucketVersions, bucketABIs, bucketEvents, bucketSessions,
		bucketDeadStates, bucketState, bucketPrivate, bucketDeltas, bucketAliases, bucketGroups, bucketMembers, bucketGrouped,
	}
)

var (
	keySchema    = []byte("schema")
	keyProbe     = []byte("probe")
	keyBlobTotal = []byte("blob_total")
	keyEventLog  = []byte("event_log")
	keyTold      = []byte("told")
)

// Store is the open database. It is safe for concurrent use; one process at a time can have it open.
type Store struct {
	db     *bbolt.DB
	commit committer
}

// Tx is a transaction. It and what it returns lazily are valid only inside the function that got it; records are
// copies and stay valid.
type Tx struct{ tx *bbolt.Tx }

// Open opens the database in dir and creates both if absent. The error wraps [ErrLocked] when another process
// still has it open after [LockTimeout], [ErrSchema] when a newer build wrote it or the directory holds another
// engine's files.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("database directory: %w", err)
	}
	path := filepath.Join(dir, fileName)
	if err := refuseForeign(dir, path); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: LockTimeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s is still locked after %s; is the node already running?", ErrLocked, path, LockTimeout)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return nil, fmt.Errorf("%w: %s: %w", ErrSchema, path, err)
	case err != nil:
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s := &Store{db: db}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	s.commit.start(db)
	return s, nil
}

// refuseForeign refuses a directory in which a node of the reference keeps its RocksDB files.
func refuseForeign(dir, path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "CURRENT")); err == nil {
		return fmt.Errorf("%w: %s holds a RocksDB database; set datastore.path to another directory", ErrSchema, dir)
	}
	return nil
}

func (s *Store) prepare() error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		meta := tx.Bucket(bucketMeta)
		v := meta.Get(keySchema)
		if v == nil {
			return meta.Put(keySchema, binary.BigEndian.AppendUint64(nil, schema))
		}
		if len(v) != 8 || binary.BigEndian.Uint64(v) != schema {
			return fmt.Errorf("%w: format %x, known is %d", ErrSchema, v, schema)
		}
		return nil
	})
}

// Close waits for running transactions and closes the file. Changes that were enqueued and did not get their turn
// fail with [ErrClosed]. Closing twice is harmless.
func (s *Store) Close() error {
	s.commit.stop()
	return s.db.Close()
}

// View runs fn in a read transaction with a stable view. fn must not start another transaction.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.View(func(tx *bbolt.Tx) error { return fn(&Tx{tx}) })
}

// Update runs fn in a write transaction, one at a time. When fn returns nil and Update returns nil, the changes
// are on disk; when fn returns an error, nothing changed. fn must not start another transaction.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error { return fn(&Tx{tx}) })
}

// OnCommit has fn called after the transaction was committed, outside of it and without any lock; it is not called
// when nothing is committed. Two transactions may call theirs in any order.
func (t *Tx) OnCommit(fn func()) { t.tx.OnCommit(fn) }

// Probe writes a record and waits for the disk, as a check that the database can be written.
func (s *Store) Probe(ctx context.Context) error {
	return s.Update(ctx, func(tx *Tx) error {
		meta := tx.tx.Bucket(bucketMeta)
		var n uint64
		if v := meta.Get(keyProbe); len(v) == 8 {
			n = binary.BigEndian.Uint64(v)
		}
		return meta.Put(keyProbe, binary.BigEndian.AppendUint64(nil, n+1))
	})
}

// get decodes a record into v. It returns [ErrNotFound] if there is none.
func (t *Tx) get(bucket, key []byte, v any) error {
	text := t.tx.Bucket(bucket).Get(key)
	if text == nil {
		return ErrNotFound
	}
	return decode(bucket, key, text, v)
}

// put encodes a record.
func (t *Tx) put(bucket, key []byte, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s %x: %w", bucket, key, err)
	}
	return t.tx.Bucket(bucket).Put(key, text)
}

func decode(bucket, key, text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("damaged record %s %x: %w", bucket, key, err)
	}
	return nil
}
