package operate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/backup"
	"github.com/calimero-network/mero-go/services/auth/internal/highwater"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// ErrExists says that a restore would overwrite a store.
var ErrExists = errors.New("there is a store already")

const (
	// A transaction of a restore holds about so much.
	batchRecords = 4096
	batchBytes   = 4 << 20

	restoringSuffix = ".restoring" // the store that is being made
	replacedSuffix  = ".replaced"  // the store that a restore has replaced
)

// Restore describes a restore.
type Restore struct {
	Backup   string // file
	Database string // file of the store, which no process may use
	Master   MasterSource
	Mark     string // file of its mark; see package highwater
	Force    bool   // replace a store that is there
	// LostMaster accepts a backup without its master key: neither can its origin be proved nor its secrets be opened.
	// ResetSecrets must follow.
	LostMaster bool
	Now        func() time.Time
	Log        *slog.Logger
}

// Restored says what a restore did.
type Restored struct {
	Created  time.Time `json:"created"` // when the backup was made
	Records  uint64    `json:"records"`
	Replaced string    `json:"replaced,omitempty"` // where the former store is
}

// Run makes a store of the backup beside the present one, verifies it, and puts it in its place in one step. Until
// then nothing has changed; a process that dies leaves a file that the next restore removes.
func (r Restore) Run(ctx context.Context) (Restored, error) {
	done, err := r.run(ctx)
	if err != nil {
		return Restored{}, fmt.Errorf("restore %s: %w", r.Backup, err)
	}
	r.Log.InfoContext(ctx, "a backup was restored", "created", done.Created, "records", done.Records)
	return done, nil
}

func (r Restore) run(ctx context.Context) (done Restored, err error) {
	dir := filepath.Dir(r.Database)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return done, err
	}
	_, err = os.Lstat(r.Database)
	exists := !errors.Is(err, fs.ErrNotExist)
	if exists && !r.Force {
		return done, fmt.Errorf("%w, %s: with --force it is replaced and kept as %s", ErrExists, r.Database, r.Database+replacedSuffix)
	}
	lock, err := bolt.LockDir(dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	restoring := r.Database + restoringSuffix
	if err := discard(restoring); err != nil { // of one that died
		return done, err
	}
	if done, err = r.build(ctx, restoring); err != nil {
		return done, errors.Join(err, discard(restoring))
	}
	if err := bolt.Swap(restoring, r.Database, r.Database+replacedSuffix); err != nil {
		return done, errors.Join(err, discard(restoring))
	}
	if exists {
		done.Replaced = r.Database + replacedSuffix
	}
	return done, nil
}

// discard removes the store that was being made, and what it was made from.
func discard(path string) error {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), name) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// build makes the store and verifies it.
func (r Restore) build(ctx context.Context, path string) (done Restored, err error) {
	f, err := os.Open(r.Backup)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // read-only
	from, err := backup.Open(f)
	if err != nil {
		return done, err
	}
	master, err := r.master(from)
	if err != nil {
		return done, err
	}
	db, err := bolt.Open(path, bolt.Options{Log: r.Log})
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	done.Created = time.Unix(from.Header.Created, 0).UTC()
	to := batch{ctx: ctx, db: db}
	if done.Records, err = from.Records(master.made, to.put); err != nil {
		return done, err
	}
	if err := to.flush(); err != nil {
		return done, err
	}
	records, err := store.Open(ctx, db)
	if err != nil {
		return done, err
	}
	if !r.LostMaster {
		if err := r.prepareSecrets(ctx, db, master, records.Audit); err != nil {
			return done, err
		}
	}
	if err := records.Audit.Record(ctx, audit.Event{
		Time: r.Now(), Action: audit.StoreRestored, Actor: audit.ByHost, Detail: "as it was at " + done.Created.Format(time.RFC3339),
	}); err != nil {
		return done, err
	}
	if err := highwater.Settle(ctx, db, r.Mark); err != nil {
		return done, err
	}
	return done, db.Check()
}

// masters are the key that the backup was made with, and the one of this host.
type masters struct{ made, present *seal.Master }

// master finds the key that the backup was made with: the present one or the one before it.
func (r Restore) master(from *backup.Reader) (masters, error) {
	if r.LostMaster {
		return masters{}, nil
	}
	present, err := seal.OpenMaster(seal.Source{Text: r.Master.Text, File: r.Master.File})
	if err != nil {
		return masters{}, fmt.Errorf("secrets.master_key: %w", err)
	}
	if made, err := from.Made(present); err != nil || made {
		return masters{present, present}, err
	}
	if r.Master.Text == "" {
		if previous, err := seal.OpenMaster(seal.Source{File: seal.PreviousFile(r.Master.File)}); err == nil {
			if made, err := from.Made(previous); err != nil || made {
				return masters{previous, present}, err
			}
		}
	}
	return masters{}, fmt.Errorf("%w than the one of this host (secrets.master_key_file): put the right one there, or see docs/recipes.md, Lost master key",
		backup.ErrWrongMaster)
}

// prepareSecrets proves that the secrets open, seals them under the present master key if that is another, and ends
// the challenges of that time: those used since the backup would be good again.
func (r Restore) prepareSecrets(ctx context.Context, db kv.DB, m masters, log *audit.Log) error {
	keyring, err := openKeyring(ctx, db, m.made, secret.Options{Now: r.Now, Log: r.Log, Audit: log})
	if err != nil {
		return err
	}
	if m.made != m.present {
		sealer, err := m.present.Sealer(sealPurpose)
		if err != nil {
			return err
		}
		if err := keyring.Rewrap(ctx, sealer); err != nil {
			return err
		}
	}
	return keyring.Rotate(ctx, secret.Challenge, true)
}

// batch collects records into transactions of a bounded size.
type batch struct {
	ctx     context.Context // of the restore
	db      kv.DB
	records []record
	bytes   int
}

type record struct {
	bucket, key string
	value       []byte
}

func (b *batch) put(bucket, key string, value []byte) error {
	b.records = append(b.records, record{bucket, key, value})
	b.bytes += len(bucket) + len(key) + len(value)
	if len(b.records) < batchRecords && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	err := b.db.Update(b.ctx, func(tx kv.Tx) error {
		for _, r := range b.records {
			if err := tx.Put(r.bucket, r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
	b.records, b.bytes = b.records[:0], 0
	return err
}
