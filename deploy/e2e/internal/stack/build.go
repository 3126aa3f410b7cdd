package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tools are the programs that the suite needs and the Debian packages that bring them (packages.txt has the same list
// for the Makefile, without node, which may come from elsewhere).
var tools = []struct{ program, debian string }{
	{"nginx", "nginx-light"},
	{"node", "nodejs"},
	{"npm", "npm"},
	{"curl", "curl"},
	{"git", "git"},
	{"make", "make"},
	{"bash", "bash"},
}

// Build makes mero-auth, merod and mero-bundle from the repository at root into dir, as the images are built, and finds nginx. What
// is missing on this machine is one error with the line that installs it.
func Build(ctx context.Context, root, dir string) (Programs, error) {
	p := Programs{Root: root, Auth: filepath.Join(dir, "mero-auth"), Node: filepath.Join(dir, "merod"), Bundle: filepath.Join(dir, "mero-bundle")}
	// Debian keeps nginx where only root looks.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return p, err
	}
	var missing []string
	for _, tool := range tools {
		if _, err := exec.LookPath(tool.program); err != nil {
			missing = append(missing, tool.debian)
		}
	}
	if len(missing) > 0 {
		return p, fmt.Errorf("these tests need more programs; as root: apt-get install -y --no-install-recommends %s", strings.Join(missing, " "))
	}
	var err error
	if p.Nginx, err = exec.LookPath("nginx"); err != nil {
		return p, err
	}
	return p, errors.Join(
		goBuild(ctx, filepath.Join(root, "services", "auth"), "./cmd/mero-auth", p.Auth),
		goBuild(ctx, filepath.Join(root, "services", "node"), "./cmd/merod", p.Node),
		goBuild(ctx, filepath.Join(root, "services", "node"), "./cmd/mero-bundle", p.Bundle),
	)
}

func goBuild(ctx context.Context, module, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, pkg) //nolint:gosec // our own paths
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOTOOLCHAIN=local")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}
