package app_test

import (
	"testing"

	"github.com/calimero-network/mero-go/pkg/importtest"
)

func TestImportOrder(t *testing.T) {
	importtest.Order(t, "services/node/internal/", []string{
		"id", "quota", "multiaddr", "peer", "caller", "config", "home", "store", "event", "blob", "bundle", "fetch", "application", "runtime",
		"merkle", "alias", "group", "contexts", "contextstest", "jsonrpc", "health", "metrics", "certificate", "guard", "stream", "httpapi", "app", "cli", "bench",
	})
	importtest.Within(t, "pkg/", "services/node/", "services/auth/embed")
}

func TestImportsOfLibraries(t *testing.T) {
	const here = "services/node/internal/"
	importtest.Only(t, "github.com/labstack/echo/v4", here+"httpapi")
	importtest.Only(t, "github.com/coder/websocket", here+"stream")
	importtest.Only(t, "go.etcd.io/bbolt", here+"store")
	importtest.Only(t, "github.com/knadh/koanf", here+"config")
	importtest.Only(t, "github.com/spf13/cobra", here+"cli")
	importtest.Only(t, "github.com/tetratelabs/wazero", here+"runtime", here+"bench")
	importtest.Only(t, "github.com/prometheus/client_golang", here+"metrics")
	importtest.Only(t, importtest.Module+"services/auth/embed", here+"app", here+"cli")
}

func TestImportablePackagesAreExplained(t *testing.T) { importtest.Explained(t) }
