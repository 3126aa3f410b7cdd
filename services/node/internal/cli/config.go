package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/node/internal/config"
)

func (p Process) configCommand(pl *place) *cobra.Command {
	return &cobra.Command{
		Use: "config [SETTING=VALUE...]", Short: "Change settings in the node's configuration file, or show it",
		Long: "Changes settings in the node's configuration file. VALUE is written as in the file (TOML):\n\n" +
			"  merod --node node1 config sync.interval_ms=1000 'server.listen=[\"/ip4/127.0.0.1/tcp/2529\"]'\n\n" +
			"All changes are made or none, and only if the file stays valid. Comments in the file are lost; a running node\n" +
			"takes the changes at its next start. Without arguments it shows the settings of the file; the key is masked.",
		RunE: func(_ *cobra.Command, args []string) error { return p.editConfig(pl, args) },
	}
}

func (p Process) editConfig(pl *place, assignments []string) error {
	dir, err := pl.dir()
	if err != nil {
		return err
	}
	file, err := config.ReadFile(dir.Config())
	if err != nil {
		return err
	}
	if len(assignments) == 0 {
		text, err := file.Masked().Bytes()
		if err != nil {
			return err
		}
		_, err = p.Stdout.Write(text)
		return err
	}
	var errs []error
	for _, a := range assignments {
		errs = append(errs, file.Assign(a))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := file.Save(dir.Config()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Stdout, "wrote %s\n", dir.Config())
	return err
}
