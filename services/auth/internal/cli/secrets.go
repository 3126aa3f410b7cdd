package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
	"github.com/calimero-network/mero-go/services/auth/internal/secret"
)

// kindMaster is the kind of the key that seals the others.
const kindMaster = "master"

func (c *command) secretsCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "secrets",
		Short: "List, rotate, import and export the signing secrets, and change the master key",
		Long: `List, rotate, import and export the signing secrets, and change the master key.

The commands work on the running service (over its control socket, as the same user or root) or on a store that
is not in use. They print no secret; "secrets export" writes a file that is sealed with a passphrase.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			return &usageError{errors.New("secrets needs a sub-command, see mero-auth secrets --help")}
		},
	}
	group.AddCommand(c.secretsList(), c.secretsRotate(), c.secretsImport(), c.secretsExport(), c.secretsReset())
	return group
}

func (c *command) secretsList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "Show ids, use and times of all secrets", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.operate(cmd.Context(), func(_ config.Config, o operator, _ bool) error {
				list, err := o.ListSecrets(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return c.printJSON(list)
				}
				rows := [][]string{{"KIND", "KID", "STATE", "CREATED", "VERIFIES UNTIL"}}
				for _, k := range list {
					rows = append(rows, []string{k.Kind, k.ID, stateOf(k), shortTime(k.Created), shortTime(k.Until)})
				}
				return printTable(c.Stdout, nil, rows)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func stateOf(k operate.Key) string {
	if k.State == string(secret.Coming) {
		return "signs from " + shortTime(k.From)
	}
	return k.State
}

func shortTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func (c *command) secretsRotate() *cobra.Command {
	var kinds []string
	var now, asJSON bool
	var keyFile string
	cmd := &cobra.Command{
		Use:   "rotate --kind KIND",
		Short: "Make new signing secrets, or another master key",
		Long: `Make new signing secrets, or another master key.

Kinds: ` + strings.Join(operate.RotatableKinds(), ", ") + `, all of these with "all", and "` + kindMaster + `".

The old secret goes on verifying until everything that it signed has expired. With --now it ends at once: every token
of the kind is void, so "--kind refresh --now" ends all sessions when their access tokens run out, and
"--kind access,refresh --now" immediately. The assertion key is the one that gate and node share.

"--kind ` + kindMaster + `" seals the secrets under another master key. Nobody notices. The old key is kept beside the new one
as FILE.previous for the backups that were made with it. Where the master key comes from the environment, give the
new one with --new-key-file and change the environment before the next start.`,
		Example: `  mero-auth secrets rotate --kind all
  mero-auth secrets rotate --kind access,refresh --now
  mero-auth secrets rotate --kind master`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.rotate(cmd.Context(), rotation{kinds, now, asJSON, keyFile})
		},
	}
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, "what to rotate, a `list`")
	cmd.Flags().BoolVar(&now, "now", false, "the old secrets end at once")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&keyFile, "new-key-file", "", "with --kind master: `file` with the new key, base64 of 32 bytes; by default it is made")
	return cmd
}

type rotation struct {
	kinds       []string
	now, asJSON bool
	keyFile     string
}

func (c *command) rotate(ctx context.Context, r rotation) error {
	switch {
	case len(r.kinds) == 0:
		return &usageError{errors.New("say what to rotate with --kind, see mero-auth secrets rotate --help")}
	case slices.Contains(r.kinds, kindMaster) && (len(r.kinds) > 1 || r.now):
		return &usageError{errors.New("--kind master goes alone, without --now")}
	case r.keyFile != "" && !slices.Contains(r.kinds, kindMaster):
		return &usageError{errors.New("--new-key-file is for --kind master")}
	}
	for _, kind := range r.kinds {
		if !slices.Contains(append(operate.RotatableKinds(), "all", kindMaster), kind) {
			return &usageError{fmt.Errorf("unknown kind %q, see mero-auth secrets rotate --help", kind)}
		}
	}
	return c.operate(ctx, func(_ config.Config, o operator, running bool) error {
		if r.kinds[0] == kindMaster {
			return c.changeMaster(ctx, o, r)
		}
		if slices.Contains(r.kinds, "all") {
			r.kinds = operate.RotatableKinds()
		}
		done, err := o.RotateSecrets(ctx, operate.Rotation{Kinds: r.kinds, Now: r.now})
		if err != nil {
			return err
		}
		if r.asJSON {
			return c.printJSON(done)
		}
		rows := [][]string{{"KIND", "NEW KID", "THE OLD ONE"}}
		for _, d := range done {
			rows = append(rows, []string{d.Kind, d.ID, fate(d, running)})
		}
		return printTable(c.Stdout, nil, rows)
	})
}

// fate says what becomes of the secret that was replaced.
func fate(d operate.Rotated, running bool) string {
	switch {
	case d.Now:
		return "has ended"
	case d.Kind == operate.Assertion && !running:
		return "signs until mero-auth runs again"
	case d.Kind == operate.Assertion, d.Kind == string(secret.JWKS):
		return "signs for 30 s more, verifies for 61 minutes"
	}
	return "verifies until what it signed has expired"
}

func (c *command) changeMaster(ctx context.Context, o operator, r rotation) error {
	var change operate.MasterChange
	if r.keyFile != "" {
		text, err := readSmall(r.keyFile)
		if err != nil {
			return fmt.Errorf("--new-key-file: %w", err)
		}
		change.Key = strings.TrimSpace(text)
	}
	done, err := o.ChangeMaster(ctx, change)
	if err != nil {
		return err
	}
	if r.asJSON {
		return c.printJSON(done)
	}
	if done.File == "" {
		c.tell("the secrets are sealed under the new key: set it as AUTH_SECRETS__MASTER_KEY now, mero-auth does not start with the old one")
		return nil
	}
	c.tell("the secrets are sealed under a new master key, %s: copy it to where you keep such keys", done.File)
	c.tell("the old key is in %s: keep it with the backups that were made before, then delete it here", done.Previous)
	return nil
}

func (c *command) secretsImport() *cobra.Command {
	var kind, kid, file, sealed, passphrase string
	var span time.Duration
	var signs, asJSON bool
	cmd := &cobra.Command{
		Use:   "import (--kind KIND --kid K --secret-file F | --sealed-file F)",
		Short: "Add signing secrets from elsewhere, so that what they signed is accepted",
		Long: `Add signing secrets from elsewhere, so that what they signed is accepted.

A single secret is 32 bytes in base64, base64url or hexadecimal. It verifies for the longest life of a token of its
kind, or for --for; with --signing it signs from now on. The secrets in a file of "secrets export" verify as long as
what they signed can be valid.`,
		Example: `  mero-auth secrets import --kind access --kid v1700000000 --secret-file access.secret
  mero-auth secrets import --sealed-file secrets.sealed --passphrase-file passphrase`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := c.importOf(importFlags{kind, kid, file, sealed, passphrase, span, signs})
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ config.Config, o operator, _ bool) error {
				done, err := o.ImportSecrets(cmd.Context(), in)
				if err != nil {
					return err
				}
				if asJSON {
					return c.printJSON(done)
				}
				c.tell("%d secrets added, %d were there already", done.Added, done.Known)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "", "access, refresh or challenge")
	f.StringVar(&kid, "kid", "", "the `id` that tokens name the secret by")
	f.StringVar(&file, "secret-file", "", "`file` with the secret")
	f.DurationVar(&span, "for", 0, "how `long` it verifies (default: the longest life of a token of the kind)")
	f.BoolVar(&signs, "signing", false, "sign with it from now on")
	f.StringVar(&sealed, "sealed-file", "", "`file` of secrets export")
	f.StringVar(&passphrase, "passphrase-file", "", "`file` with the passphrase (or MERO_AUTH_PASSPHRASE[_FILE], or the terminal)")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type importFlags struct {
	kind, kid, file, sealed, passphrase string
	span                                time.Duration
	signs                               bool
}

// importOf reads the files that the flags name.
func (c *command) importOf(f importFlags) (operate.Import, error) {
	single := f.kind != "" && f.kid != "" && f.file != ""
	if single == (f.sealed != "") || f.sealed != "" && (f.kind+f.kid+f.file != "" || f.signs || f.span != 0) || f.span < 0 {
		return operate.Import{}, &usageError{errors.New("want --kind, --kid and --secret-file, or --sealed-file alone")}
	}
	if single {
		text, err := readSmall(f.file)
		if err != nil {
			return operate.Import{}, fmt.Errorf("--secret-file: %w", err)
		}
		return operate.Import{Kind: f.kind, ID: f.kid, Secret: strings.TrimSpace(text), Signs: f.signs, For: f.span}, nil
	}
	text, err := os.ReadFile(f.sealed)
	if err != nil {
		return operate.Import{}, fmt.Errorf("--sealed-file: %w", err)
	}
	phrase, err := c.passphrase(f.passphrase, false)
	return operate.Import{Sealed: text, Passphrase: phrase}, err
}

func (c *command) secretsExport() *cobra.Command {
	var passphrase string
	var force bool
	cmd := &cobra.Command{
		Use:   "export FILE",
		Short: "Write all signing secrets into a file that is sealed with a passphrase",
		Long: `Write all signing secrets into a file that is sealed with a passphrase (argon2id, AES-256-GCM).

With it the sessions survive the loss of the master key, see "secrets reset". FILE "-" is the standard output. Whoever has the file and the passphrase
can make tokens for everybody.`,
		Example: `  mero-auth secrets export --passphrase-file passphrase secrets.sealed`,
		Args:    oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			phrase, err := c.passphrase(passphrase, true)
			if err != nil {
				return err
			}
			return c.operate(cmd.Context(), func(_ config.Config, o operator, _ bool) error {
				text, err := o.ExportSecrets(cmd.Context(), phrase)
				if err != nil {
					return err
				}
				if args[0] == "-" {
					_, err := c.Stdout.Write(text)
					return err
				}
				return writeNew(args[0], force, func(f *os.File) error {
					_, err := f.Write(text)
					return err
				})
			})
		},
	}
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` with the passphrase (or MERO_AUTH_PASSPHRASE[_FILE], or the terminal)")
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	return cmd
}

func (c *command) secretsReset() *cobra.Command {
	var sealed, passphrase string
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset --yes [--sealed-file F]",
		Short: "Give a store whose master key is lost another master key and other secrets",
		Long: `Give a store whose master key is lost another master key and other secrets.

Keys, accounts and permissions stay. All tokens end: everybody logs in again, machine tokens are made again. With
--sealed-file the secrets of a "secrets export" are used, and what they signed stays valid. The store must not be
in use.`,
		Example: `  mero-auth secrets reset --yes
  mero-auth secrets reset --yes --sealed-file secrets.sealed --passphrase-file passphrase`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				return &usageError{errors.New("secrets reset overwrites all secrets of the store: confirm with --yes")}
			}
			return c.resetSecrets(cmd.Context(), sealed, passphrase)
		},
	}
	cmd.Flags().StringVar(&sealed, "sealed-file", "", "`file` of secrets export")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` with the passphrase (or MERO_AUTH_PASSPHRASE[_FILE], or the terminal)")
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm")
	return cmd
}

func (c *command) resetSecrets(ctx context.Context, sealed, passphrase string) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if err := (control.Client{Dir: cfg.Storage.Path}).Ping(ctx); !errors.Is(err, control.ErrNotRunning) {
		return errors.Join(errors.New("mero-auth is running on this store, so its master key is not lost; stop it first"), err)
	}
	var from []secret.Exported
	if sealed != "" {
		text, err := os.ReadFile(sealed) //nolint:gosec // the operator names the file
		if err != nil {
			return fmt.Errorf("--sealed-file: %w", err)
		}
		phrase, err := c.passphrase(passphrase, false)
		if err != nil {
			return err
		}
		if from, err = operate.OpenExport(phrase, text); err != nil {
			return err
		}
	}
	if err := app.ResetSecrets(ctx, cfg, from, c.quietLogger(cfg.Log)); err != nil {
		return err
	}
	if from == nil {
		c.tell("the store has new secrets: everybody logs in again")
		return nil
	}
	c.tell("the store has the secrets of %s: what they signed stays valid", sealed)
	return nil
}
