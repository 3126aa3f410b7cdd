// Package application installs, lists and removes what contexts run: WebAssembly modules, alone or in signed bundles.
//
// An application that came as a bundle has an id made of package and signer, the same for all its versions; one that
// came as a bare module has an id made of everything that is known of it. Each version is named by the blob that was
// installed. Contexts keep running the version that they were created with until they are updated.
package application

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/bundle"
	"github.com/calimero-network/mero-go/services/node/internal/fetch"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/quota"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// The errors that callers tell apart. They are wrapped.
var (
	ErrNotFound  = errors.New("application not found")
	ErrInUse     = errors.New("a context runs the application")
	ErrNoService = errors.New("no such service, or several and none was named")
	ErrNoABI     = errors.New("the application does not describe its interface")
	ErrFormat    = errors.New("neither a bundle nor a WebAssembly module")
	ErrTooLarge  = errors.New("the application is too large")
	ErrPath      = errors.New("the path is not acceptable")
	ErrNoFile    = errors.New("application file not found")
	ErrBusy      = errors.New("too many downloads or installations are running, try again")
)

// Application is one version of an installed application.
type Application = store.Application

// Service is the use cases around applications. Its fields are set before its first use and not changed; it is then
// safe for concurrent use.
type Service struct {
	Store     *store.Store
	Blobs     *blob.Store
	Fetch     *fetch.Client
	Paths     []string // absolute directories; files below them may be installed
	MaxSize   int64    // of the file that is installed, in bytes
	MaxModule int64    // of one module, in bytes
	Now       func() time.Time
	Log       *slog.Logger

	once sync.Once
	// The places. What waits for another machine has places of its own for each purpose, so that it can be as slow as it is
	// allowed to be without holding up anything else; turns are for what this machine does alone.
	installs, downloads, turns *quota.Pool
}

// Get returns the version of an application that was installed last, which new contexts get. The error wraps
// [ErrNotFound].
func (s *Service) Get(ctx context.Context, app id.ID) (Application, error) {
	var a Application
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.Application(app)
		return err
	})
	return a, translate(err)
}

// Version returns the version of an application that a blob is. The error wraps [ErrNotFound].
func (s *Service) Version(ctx context.Context, app, blob id.ID) (Application, error) {
	var a Application
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		a, err = tx.ApplicationVersion(app, blob)
		return err
	})
	return a, translate(err)
}

// Bytecode reads the module of the version that was installed last, of its only service if it has services. The error
// wraps [ErrNotFound] or [ErrNoService].
func (s *Service) Bytecode(ctx context.Context, app id.ID) ([]byte, error) {
	a, err := s.Get(ctx, app)
	if err != nil {
		return nil, err
	}
	module, ok := a.Module("")
	if !ok {
		return nil, fmt.Errorf("%w: application %s", ErrNoService, app)
	}
	return s.Module(ctx, module)
}

// Module reads a module by its blob, which is in Application.Wasm or one of the Services. The error wraps
// [ErrNotFound].
func (s *Service) Module(ctx context.Context, module id.ID) ([]byte, error) {
	r, err := s.Blobs.Open(ctx, module)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, fmt.Errorf("%w: module %s", ErrNotFound, module)
	}
	if err != nil {
		return nil, err
	}
	text := make([]byte, r.Info.Size) // installations bound it
	_, err = io.ReadFull(r, text)
	return text, errors.Join(err, r.Close())
}

// List returns the version of each application that was installed last, in the order of the ids.
func (s *Service) List(ctx context.Context) ([]Application, error) {
	var all []Application
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		all, err = collect(tx.Applications())
		return err
	})
	return all, err
}

// Versions returns the versions of an application in rising order, without superseded ones. The error wraps
// [ErrNotFound].
func (s *Service) Versions(ctx context.Context, app id.ID) ([]Application, error) {
	var all []Application
	err := s.Store.View(ctx, func(tx *store.Tx) (err error) {
		if _, err := tx.Application(app); err != nil {
			return err
		}
		all, err = collect(tx.ApplicationVersions(app))
		return err
	})
	if err != nil {
		return nil, translate(err)
	}
	all = slices.DeleteFunc(all, func(a Application) bool { return a.Superseded })
	slices.SortStableFunc(all, func(a, b Application) int { return bundle.CompareVersions(a.Version, b.Version) })
	return all, nil
}

// Inventory returns the versions of all applications, without superseded ones, in the order of the applications' ids.
func (s *Service) Inventory(ctx context.Context) ([]Application, error) {
	all := []Application{}
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		for app, err := range tx.Applications() {
			if err != nil {
				return err
			}
			versions, err := collect(tx.ApplicationVersions(app.ID))
			if err != nil {
				return err
			}
			all = append(all, versions...)
		}
		return nil
	})
	return slices.DeleteFunc(all, func(a Application) bool { return a.Superseded }), err
}

func collect(seq iter.Seq2[Application, error]) ([]Application, error) {
	all := []Application{}
	for a, err := range seq {
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// ABI returns the description of the interface of a service, a JSON text, as the version that was installed last has it.
// The empty service stands for the only one there is. The error wraps [ErrNotFound], [ErrNoService] or [ErrNoABI].
func (s *Service) ABI(ctx context.Context, app id.ID, service string) ([]byte, error) {
	var text []byte
	err := s.Store.View(ctx, func(tx *store.Tx) error {
		a, err := tx.Application(app)
		if err != nil {
			return err
		}
		if _, ok := a.Module(service); !ok {
			return ErrNoService
		}
		if service == "" && len(a.Services) == 1 {
			service = a.Services[0].Name
		}
		text, err = tx.ABI(app, a.Blob, service)
		if errors.Is(err, store.ErrNotFound) {
			return ErrNoABI
		}
		return err
	})
	return text, translate(err)
}

// Uninstall removes an application with all its versions and what only they needed. The error wraps [ErrNotFound], or
// [ErrInUse] while a context runs it.
func (s *Service) Uninstall(ctx context.Context, app id.ID) error {
	if err := s.Store.Update(ctx, func(tx *store.Tx) error { return tx.RemoveApplication(app) }); err != nil {
		return translate(err)
	}
	s.Blobs.Reclaim(ctx)
	s.Log.InfoContext(ctx, "application removed", "application", app.String())
	return nil
}

// translate turns the errors of the database into those of this package.
func translate(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return ErrNotFound
	case errors.Is(err, store.ErrInUse):
		return ErrInUse
	}
	return err
}
