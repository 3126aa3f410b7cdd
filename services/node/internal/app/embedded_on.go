//go:build !noembed

package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
	"github.com/calimero-network/mero-go/services/auth/embed"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
)

// AuthSettings returns what a node decides about the mero-auth in its process. environ has the form of os.Environ.
func AuthSettings(cfg config.Config, dir home.Dir, environ []string) embed.Settings {
	e := cfg.Server.Embedded
	s := embed.Settings{
		Dir: dir.Path(e.StoragePath), Memory: e.Storage == config.StorageMemory, PublicURL: e.PublicURL, Environ: environ,
		AllowAllOrigins: cfg.CORS.AllowAllOrigins, AllowedOrigins: cfg.CORS.AllowedOrigins,
		Listen: cfg.ListenAddrs(), LogLevel: cfg.Log.Level, LogFormat: cfg.Log.Format,
		Command: fmt.Sprintf("merod --home %s --node %s auth", filepath.Dir(string(dir)), filepath.Base(string(dir))),
	}
	if e.ConfigFile != "" {
		s.ConfigFile = dir.Path(e.ConfigFile)
	}
	return s
}

func openEmbedded(ctx context.Context, o Options) (*embedded, error) {
	s, err := embed.Open(ctx, AuthSettings(o.Config, o.Home, o.Environ), o.Now, o.Log.With("service", "mero-auth"))
	if err != nil {
		return nil, fmt.Errorf("embedded authentication: %w", err)
	}
	if o.Tell != nil {
		if secret, until, ok := s.FirstLogin(ctx); ok {
			o.Tell(fmt.Sprintf("the first login needs this one-time secret as provider_data.bootstrap_secret (valid until %s):\n\n      %s\n",
				until.Format(time.RFC3339), secret))
		}
	}
	return &embedded{
		handler: s, figures: s.Metrics(),
		guard: func(r *http.Request, match *route.Match) (caller.Caller, error) {
			c, err := s.Guard(r, match)
			if c == nil || err != nil {
				return caller.Caller{}, err
			}
			return caller.Caller{Key: c.Key, Permissions: permission.NewSet(c.Permissions), Expires: c.Expires, Token: token{c}}, nil
		},
		readable: s.Readable, writable: s.Writable, reload: s.Reload, run: s.Run, close: s.Close,
	}, nil
}

// token tells the ends of a token in the words of the node.
type token struct{ *embed.Caller }

// Check implements [caller.Token].
func (t token) Check(ctx context.Context) error {
	err := t.Caller.Check(ctx)
	switch {
	case errors.Is(err, embed.ErrRevoked):
		return caller.ErrRevoked
	case errors.Is(err, embed.ErrExpired):
		return caller.ErrExpired
	case errors.Is(err, embed.ErrNarrowed):
		return caller.ErrChanged
	}
	return err
}
