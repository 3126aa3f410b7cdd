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
	"log/slog"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/blob"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// The errors that callers tell apart. They are wrapped.
var (
	ErrNotFound  = errors.New("no such application")
	ErrInUse     = errors.New("a context runs the application")
	ErrNoService = errors.New("no such service, or several and none was named")
)

// Application is one version of an installed application.
type Application = store.Application

// Service is the use cases around applications. Its fields are set before its first use and not changed; it is then
// safe for concurrent use.
type Service struct {
	Store *store.Store
	Blobs *blob.Store
	Now   func() time.Time
	Log   *slog.Logger
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
