package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/calimero-network/mero-go/pkg/assertion"
	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/highwater"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/seal"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// The results of a check.
const (
	healthy = "ok"
	doubt   = "warning"
	broken  = "failure" // of something that stops the start or refuses people
)

// finding is what a check found.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"`
	Detail string `json:"detail"`
}

// examination collects findings.
type examination struct {
	cfg      config.Config
	now      time.Time
	findings []finding
}

func (e *examination) note(check, result, format string, args ...any) {
	e.findings = append(e.findings, finding{check, result, fmt.Sprintf(format, args...)})
}

func (c *command) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, files, store, keys, clock, proxy trust and RPC nodes of this host",
		Long: `Check configuration, files, store, keys, clock, proxy trust and RPC nodes of this host.

It works beside the running service or on a store that is not in use, and changes nothing that a start would not
change. The exit code is 1 when a check fails, or when there is no store; warnings do not count.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := c.examine(cmd.Context())
			if err := c.printFindings(findings, asJSON); err != nil {
				return err
			}
			for _, f := range findings {
				if f.Result == broken {
					return exit(ExitError)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *command) printFindings(findings []finding, asJSON bool) error {
	if asJSON {
		return c.printJSON(findings)
	}
	rows := [][]string{{"CHECK", "RESULT", ""}}
	for _, f := range findings {
		for i, line := range strings.Split(f.Detail, "\n") {
			if i == 0 {
				rows = append(rows, []string{f.Check, f.Result, line})
				continue
			}
			rows = append(rows, []string{"", "", line})
		}
	}
	return printTable(c.Stdout, nil, rows)
}

// examine runs all checks, in the order in which a start meets their subjects.
func (c *command) examine(ctx context.Context) []finding {
	cfg, warnings, err := config.Load(c.input())
	e := &examination{cfg: cfg, now: time.Now()}
	if err != nil {
		e.note("configuration", broken, "%v", err)
		return e.findings
	}
	e.note("configuration", healthy, "is good")
	for _, w := range warnings {
		e.note("configuration", doubt, "%v", w)
	}
	e.directories()
	e.masterKey()
	e.assertionKeys()
	e.putBack()
	secrets := e.store(ctx, c)
	e.clock(secrets)
	e.trust()
	e.rpc(ctx)
	return e.findings
}

// minFree is the space below which a store can soon take no more writes, in bytes.
const minFree = 64 << 20

func (e *examination) directories() {
	if e.cfg.Storage.Type != "bbolt" {
		e.note("storage", doubt, "storage.type is %s: nothing survives a restart", e.cfg.Storage.Type)
		return
	}
	for _, dir := range []struct{ check, path string }{{"storage", e.cfg.Storage.Path}, {"key directory", e.cfg.Secrets.KeyDir}} {
		info, err := os.Stat(dir.path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			e.note(dir.check, doubt, "%s is absent: the first start makes it", dir.path)
		case err != nil:
			e.note(dir.check, broken, "%v", err)
		case !info.IsDir():
			e.note(dir.check, broken, "%s is no directory", dir.path)
		case unix.Access(dir.path, unix.W_OK|unix.X_OK) != nil:
			e.note(dir.check, broken, "%s cannot be written by this user", dir.path)
		case info.Mode().Perm()&0o077 != 0:
			e.note(dir.check, doubt, "%s is open to other users (mode %04o): chmod 700", dir.path, info.Mode().Perm())
		default:
			e.note(dir.check, healthy, "%s", dir.path)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(e.cfg.Storage.Path, &fs); err == nil {
		free := fs.Bavail * uint64(fs.Bsize) //nolint:gosec // a block size is not negative
		result := healthy
		if free < minFree {
			result = broken
		}
		e.note("disk", result, "%d MiB are free", free>>20)
	}
}

func (e *examination) masterKey() {
	src := app.MasterSource(e.cfg)
	_, err := seal.OpenMaster(seal.Source{Text: src.Text, File: src.File})
	_, statErr := os.Stat(app.DatabasePath(e.cfg))
	switch {
	case err == nil && src.Text != "":
		e.note("master key", doubt, "comes from the environment, which other processes of this user can read: a file is better")
	case err == nil:
		e.note("master key", healthy, "%s", src.File)
	case errors.Is(err, seal.ErrNoMaster) && errors.Is(statErr, os.ErrNotExist):
		e.note("master key", doubt, "is absent: the first start makes it")
	default:
		e.note("master key", broken, "%v", err)
	}
}

// rememberPutBack is how long doctor speaks of an old copy of the store: the usual life of a session that it revived.
const rememberPutBack = 30 * 24 * time.Hour

func (e *examination) putBack() {
	if e.cfg.Storage.Type != "bbolt" {
		return
	}
	kept, err := highwater.Read(app.MarkPath(e.cfg))
	switch {
	case err != nil:
		e.note("old copies", doubt, "%v: the next start makes it anew", err)
	case kept.Count == 0:
		e.note("old copies", doubt, "nothing was kept yet in %s: an old copy of the store that is put back before the next start goes unnoticed", app.MarkPath(e.cfg))
	case !kept.PutBack.IsZero() && e.now.Sub(kept.PutBack) < rememberPutBack:
		e.note("old copies", doubt, "an old copy of the store was put back, noticed %s: what was revoked before that is good again\n"+
			"mero-auth secrets rotate --kind access,refresh --now, then revoke the keys again (docs/recipes.md, Restore a backup)", kept.PutBack.Format(time.RFC3339))
	default:
		e.note("old copies", healthy, "none was put back lately")
	}
}

func (e *examination) assertionKeys() {
	const check = "assertion key"
	path := e.cfg.Assertion.KeyFile
	file, err := assertion.Open(path, time.Now)
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.note(check, doubt, "%s is absent: the next start makes it, and the node must read the same file", path)
	case err != nil:
		e.note(check, broken, "%v", err)
	case e.cfg.Assertion.Algorithm == "ed25519":
		e.note(check, healthy, "published keys sign (assertion.algorithm is ed25519)")
	default:
		e.note(check, healthy, "%s, signing %s of %d", path, file.Ring().Keys()[0].ID(), len(file.Ring().Keys()))
	}
	if set := e.cfg.Assertion.JWKSFile; set != "" {
		if err := assertion.PublishedFile(set, time.Now).Reload(); err != nil {
			e.note("published keys", doubt, "%v (mero-auth writes them while it runs)", err)
		} else {
			e.note("published keys", healthy, "%s", set)
		}
	}
}

// store checks the running service or the store, and returns its secrets.
func (e *examination) store(ctx context.Context, c *command) []operate.Key {
	client := control.Client{Dir: e.cfg.Storage.Path}
	switch err := client.Ping(ctx); {
	case err == nil:
		e.note("service", healthy, "is running")
		if c.Embedded != nil {
			return e.secrets(ctx, client) // the node tells of its readiness itself
		}
		if err := c.healthcheck(ctx); err != nil {
			e.note("service", broken, "%v", err)
		}
		return e.secrets(ctx, client)
	case !errors.Is(err, control.ErrNotRunning):
		e.note("service", broken, "%v", err)
		return nil
	}
	if _, err := os.Stat(app.DatabasePath(e.cfg)); errors.Is(err, os.ErrNotExist) {
		if e.cfg.Storage.Type != "bbolt" {
			e.note("service", doubt, "is not running, and its store was in memory")
			return nil
		}
		e.note("store", broken, "there is none in %s: the service has not started yet, or this is not its configuration", e.cfg.Storage.Path)
		return nil
	}
	offline, err := app.OpenOffline(ctx, e.cfg, c.quietLogger(e.cfg.Log))
	if err != nil {
		e.note("store", broken, "%v", err)
		return nil
	}
	e.note("service", doubt, "is not running")
	if offline.Mark != nil { // an unreadable file was noted before
		if counts, err := offline.Mark.Counts(ctx); err == nil && counts.Behind() > 0 {
			e.note("old copies", doubt, "the store is an old copy that was put back: what was revoked since it was made is good again, and the next start says what to do")
		}
	}
	list := e.secrets(ctx, offline)
	if err := offline.Close(); err != nil {
		e.note("store", broken, "%v", err)
	}
	return list
}

func (e *examination) secrets(ctx context.Context, o operator) []operate.Key {
	list, err := o.ListSecrets(ctx)
	if err != nil {
		e.note("store", broken, "%v", err)
		return nil
	}
	e.note("store", healthy, "%s opens with the master key, %d secrets", filepath.Join(e.cfg.Storage.Path, app.DatabaseName), len(list))
	for _, k := range list {
		age := e.now.Sub(k.Created)
		if k.State == string(secret.Signing) && !k.Created.IsZero() && age > 2*e.cfg.Secrets.Rotation {
			e.note("rotation", doubt, "the %s secret %s is %s old, secrets.rotation is %s", k.Kind, k.ID, age.Round(time.Hour), e.cfg.Secrets.Rotation)
		}
	}
	return list
}

// clockTolerance is what the readers of tokens and assertions tolerate at least.
const clockTolerance = 30 * time.Second

// clock compares with the times in the store: a clock that went back makes tokens valid again that had expired.
func (e *examination) clock(secrets []operate.Key) {
	var newest time.Time
	for _, k := range secrets {
		if k.Created.After(newest) {
			newest = k.Created
		}
	}
	if behind := newest.Sub(e.now); behind > clockTolerance {
		e.note("clock", broken, "is %s behind the store, which has seen %s", behind.Round(time.Second), newest.Format(time.RFC3339))
		return
	}
	e.note("clock", healthy, "%s", e.now.UTC().Format(time.RFC3339))
}

func (e *examination) trust() {
	const check = "proxy trust"
	loopbackOnly := true
	for _, p := range e.cfg.Forward.TrustedProxies {
		loopbackOnly = loopbackOnly && p.Addr().IsLoopback()
	}
	listener, err := netip.ParseAddrPort(e.cfg.ListenAddr)
	public := err != nil || !listener.Addr().IsLoopback()
	switch {
	case len(e.cfg.Forward.TrustedProxies) == 0:
		e.note(check, broken, "forward.trusted_proxies is empty: every question of a proxy is refused")
	case loopbackOnly && public:
		e.note(check, doubt, "listen_addr is %s but forward.trusted_proxies names this host only: a proxy on another host is refused", e.cfg.ListenAddr)
	default:
		e.note(check, healthy, "%v", e.cfg.Forward.TrustedProxies)
	}
	switch address := e.cfg.PublicURL; {
	case address == "":
		e.note("public url", doubt, "public_url is not set: wallet logins need it, and browsers are not sent to the login page")
	case strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "http://localhost") && !strings.HasPrefix(address, "http://127."):
		e.note("public url", doubt, "%s is plain http: whoever is on the way reads passwords and tokens", address)
	default:
		e.note("public url", healthy, "%s", address)
	}
}
