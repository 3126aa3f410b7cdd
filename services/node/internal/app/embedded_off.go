//go:build noembed

package app

import (
	"context"
	"errors"
)

func openEmbedded(context.Context, Options) (*embedded, error) {
	return nil, errors.New("server.auth_mode: this build has no embedded authentication; run mero-auth and use \"proxy\", or use \"none\" on a loopback listener")
}
