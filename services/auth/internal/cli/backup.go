package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/auth/internal/app"
	"github.com/calimero-network/mero-go/services/auth/internal/backup"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/control"
	"github.com/calimero-network/mero-go/services/auth/internal/operate"
)

// oneArg wants exactly one argument.
func oneArg(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return &usageError{err}
	}
	return nil
}

// writeNew makes a file, 0600, that appears whole or not at all. One that is there is replaced only with force.
func writeNew(path string, force bool, write func(*os.File) error) (err error) {
	if _, err := os.Lstat(path); !force && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: choose another name, or --force", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if force {
		err = os.Rename(f.Name(), path)
	} else if err = os.Link(f.Name(), path); err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (c *command) backupCommand() *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the store, also while mero-auth runs",
		Long: `Write a backup of the store, also while mero-auth runs.

The file is a snapshot of one moment and is read back before it gets its name. FILE "-" is the standard output. The
master key is never part of it: without that key (secrets.key_dir) the backup cannot be restored, so keep both, apart.`,
		Example: `  mero-auth backup /backups/auth-$(date +%F).backup
  docker compose exec -T auth mero-auth backup - > auth.backup`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error { return c.backUp(cmd.Context(), args[0], force, asJSON) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that is there")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *command) backUp(ctx context.Context, path string, force, asJSON bool) error {
	return c.operate(ctx, func(_ config.Config, o operator, _ bool) error {
		if path == "-" {
			return o.Backup(ctx, c.Stdout)
		}
		var records uint64
		var header backup.Header
		err := writeNew(path, force, func(f *os.File) (err error) {
			if err = o.Backup(ctx, f); err != nil {
				return err
			}
			if _, err = f.Seek(0, 0); err != nil {
				return err
			}
			from, err := backup.Open(f)
			if err != nil {
				return err
			}
			header = from.Header
			records, err = from.Records(nil, func(string, string, []byte) error { return nil })
			return err
		})
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if asJSON {
			return c.printJSON(map[string]any{"file": path, "records": records, "created": time.Unix(header.Created, 0).UTC()})
		}
		c.tell("%s holds %d records; keep the master key apart from it", path, records)
		return nil
	})
}

func (c *command) restoreCommand() *cobra.Command {
	var force, lostMaster, asJSON bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the store, which must not be in use",
		Long: `Put a backup in the place of the store, which must not be in use.

The backup is verified first, with the master key; until then nothing changes. A store that is there is replaced only
with --force, and kept beside the new one as auth.db.replaced. What was revoked or changed after the backup was made
has to be revoked or changed again: docs/recipes.md says how.`,
		Example: `  mero-auth restore /backups/auth-2026-03-01.backup
  mero-auth restore --force auth.backup`,
		Args: oneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.restore(cmd.Context(), args[0], restoreFlags{force, lostMaster, asJSON})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the store that is there")
	cmd.Flags().BoolVar(&lostMaster, "lost-master-key", false, "accept a backup whose master key is lost; secrets reset must follow")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

type restoreFlags struct{ force, lostMaster, asJSON bool }

func (c *command) restore(ctx context.Context, file string, flags restoreFlags) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if cfg.Storage.Type != "bbolt" {
		return fmt.Errorf("storage.type is %s: only a store on disk can be restored", cfg.Storage.Type)
	}
	if err := (control.Client{Dir: cfg.Storage.Path}).Ping(ctx); !errors.Is(err, control.ErrNotRunning) {
		return errors.Join(errors.New("mero-auth is running on this store: stop it first"), err)
	}
	done, err := operate.Restore{
		Backup: file, Database: app.DatabasePath(cfg), Mark: app.MarkPath(cfg), Master: app.MasterSource(cfg), Force: flags.force, LostMaster: flags.lostMaster,
		Now: time.Now, Log: c.quietLogger(cfg.Log),
	}.Run(ctx)
	if err != nil {
		return err
	}
	if flags.asJSON {
		return c.printJSON(done)
	}
	c.tell("the store is as it was at %s (%d records)", done.Created.Format(time.RFC3339), done.Records)
	if done.Replaced != "" {
		c.tell("the former store is %s: delete it when you are sure", done.Replaced)
	}
	if flags.lostMaster {
		c.tell("its secrets cannot be read: run `mero-auth secrets reset --yes` before the next start")
	}
	return nil
}
