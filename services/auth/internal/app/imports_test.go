package app_test

import (
	"testing"

	"github.com/calimero-network/mero-go/pkg/importtest"
)

func TestImportOrder(t *testing.T) {
	importtest.Order(t, "services/auth/internal/", []string{
		"config", "owner", "jsonrpc", "jsonrpc/jsonrpctest", "kv", "kv/kvtest", "kv/memory", "kv/bolt", "kv/bolt/bolttest", "audit", "seal",
		"secret", "gatekey", "backup", "highwater", "token", "challenge", "store", "provider", "provider/ethereum", "provider/ethereum/ethtest",
		"provider/example", "provider/near", "provider/near/neartest",
		"provider/password", "bootstrap", "gate", "login", "keys", "limit", "metrics", "operate", "control",
		"openapi", "httpapi", "app", "authtest", "bench", "client", "cli",
	})
	importtest.Within(t, "pkg/", "services/auth/")
}

func TestImportsOfLibraries(t *testing.T) {
	const here = "services/auth/internal/"
	importtest.Only(t, "github.com/labstack/echo/v4", here+"httpapi")
	importtest.Only(t, "go.etcd.io/bbolt", here+"kv/bolt", here+"kv/bolt/bolttest")
	importtest.Only(t, "github.com/lestrrat-go/jwx/v3", here+"token")
	importtest.Only(t, "github.com/ethereum/go-ethereum", here+"provider/ethereum", here+"provider/ethereum/ethtest")
	importtest.Only(t, "github.com/knadh/koanf", here+"config")
}

func TestImportablePackagesAreExplained(t *testing.T) { importtest.Explained(t) }
