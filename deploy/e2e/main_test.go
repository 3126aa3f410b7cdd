package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/deploy/e2e/internal/stack"
)

var (
	programs stack.Programs
	runDir   string       // everything that this run writes
	stacks   atomic.Int32 // how many were started, for the names of their directories
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if os.Getenv(envURL) != "" && flag.Lookup("test.run").Value.String() == "" {
		// Somebody else's stack: only the tests that need nothing but its address.
		_ = flag.Set("test.run", "^TestScenario")
	}
	if flag.Lookup("test.parallel").Value.String() == flag.Lookup("test.parallel").DefValue {
		// The tests wait more than they compute.
		_ = flag.Set("test.parallel", strconv.Itoa(maxParallel))
	}
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(runDir) }()
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintf(os.Stderr, "--- FAIL: the stack that the scenarios share\n%v\n", err)
		return 1
	}
	return code
}

const maxParallel = 32

// prepare builds the programs and installs the wallet libraries, once for all tests.
func prepare() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	// Short, because the path of a Unix socket is; reachable, because nginx's workers are another user.
	base := os.TempDir()
	if len(base) > 40 {
		base = "/tmp"
	}
	if runDir, err = os.MkdirTemp(base, "mero-e2e"); err != nil {
		return err
	}
	if err := os.Chmod(runDir, 0o755); err != nil {
		return err
	}
	if os.Getenv(envURL) == "" {
		started := time.Now()
		if programs, err = stack.Build(ctx, root, runDir); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "built mero-auth and merod in %.1f s\n", time.Since(started).Seconds())
	}
	return installWallet(ctx)
}

// installWallet installs what wallet/package-lock.json names unless it is there.
func installWallet(ctx context.Context) error {
	_, viem := os.Stat("wallet/node_modules/viem/package.json")
	_, near := os.Stat("wallet/node_modules/near-api-js/package.json")
	if viem == nil && near == nil {
		return nil
	}
	fmt.Fprintln(os.Stderr, "installing the wallet libraries: npm ci in deploy/e2e/wallet")
	for try := 1; ; try++ {
		cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund")
		cmd.Dir = "wallet"
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if try == 3 || ctx.Err() != nil { // a registry is not always there
			return fmt.Errorf("the wallet libraries could not be installed; run: npm --prefix deploy/e2e/wallet ci\n%w\n%s", err, out)
		}
	}
}

// start starts a stack of the test's own and stops it at the test's end, when its logs must hold no secret.
func start(t *testing.T, s stack.Settings) *stack.Stack {
	t.Helper()
	if programs.Auth == "" {
		t.Fatalf("this test needs a stack of its own: unset %s", envURL)
	}
	dir := filepath.Join(runDir, fmt.Sprintf("s%d", stacks.Add(1)))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	st, err := stack.Start(t.Context(), programs, dir, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Stop(); err != nil {
			t.Error(err)
		}
	})
	return st
}
