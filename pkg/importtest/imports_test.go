package importtest_test

import (
	"testing"

	"github.com/calimero-network/mero-go/pkg/importtest"
)

func TestImportsOfPkg(t *testing.T) {
	importtest.StandardLibraryOnly(t)
	importtest.Within(t, "pkg/")
	importtest.Explained(t)
}
