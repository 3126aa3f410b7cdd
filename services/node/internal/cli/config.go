package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
)

const configHelp = `Shows or changes the settings of the node's configuration file.

  merod -n node1 config                              the file; the key is masked
  merod -n node1 config sync.interval_ms             the value that 'run' would use: file, environment, default
  merod -n node1 config server.websocket             all values of a table
  merod -n node1 config 'log.level?'                 what a setting means, its default and its variable
  merod -n node1 config sync.interval_ms=1000 'log.level="debug"' 'server.listen=["/ip4/127.0.0.1/tcp/2529"]'

A value is written as in the file (TOML), so a text needs its quotes. All changes are made or none, and only if the file
stays valid. Comments in the file are lost; a running node takes the changes at its next start.`

// settingsCommand is what "merod config" was asked to do.
type settingsCommand struct {
	json bool
	save bool // the reference saves only with it; here every change is saved
}

func (p Process) configCommand(pl *place) *cobra.Command {
	s := &settingsCommand{}
	c := &cobra.Command{
		Use: "config [SETTING | SETTING=VALUE | SETTING?]...", Short: "Show or change the settings of the node", Long: configHelp,
		Example: "  merod -n node1 config --json | jq .server.listen",
		RunE:    func(_ *cobra.Command, args []string) error { return p.settings(pl, s, args) },
		ValidArgsFunction: func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, s := range config.Settings() {
				if strings.HasPrefix(s.Path, typed) {
					names = append(names, s.Path)
				}
			}
			return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&s.json, "json", false, "write JSON, for scripts")
	c.Flags().BoolVarP(&s.save, "save", "s", false, "accepted for scripts of the reference; changes are always saved")
	return c
}

// settings does one of three things, which cannot be mixed.
func (p Process) settings(pl *place, s *settingsCommand, args []string) error {
	dir, err := pl.dir()
	if err != nil {
		return err
	}
	kind := func(arg string) string {
		switch {
		case strings.Contains(arg, "="):
			return "change"
		case strings.HasSuffix(arg, "?"):
			return "explain"
		}
		return "show"
	}
	for _, a := range args {
		if kind(a) != kind(args[0]) {
			return errors.New("show (SETTING), explain (SETTING?) and change (SETTING=VALUE) one at a time")
		}
	}
	switch {
	case len(args) == 0:
		return p.showFile(dir, s.json)
	case kind(args[0]) == "change":
		return p.change(dir, args)
	case kind(args[0]) == "explain":
		return p.explain(s.json, args)
	default:
		return p.show(dir, s.json, args)
	}
}

func (p Process) change(dir home.Dir, assignments []string) error {
	file, err := config.ReadFile(dir.Config())
	if err != nil {
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

// showFile writes the file, or in JSON everything that 'run' would use.
func (p Process) showFile(dir home.Dir, asJSON bool) error {
	if asJSON {
		return p.show(dir, true, nil)
	}
	file, err := config.ReadFile(dir.Config())
	if err != nil {
		return err
	}
	text, err := file.Masked().Bytes()
	if err != nil {
		return err
	}
	_, err = p.Stdout.Write(text)
	return err
}

// show writes settings with the values that 'run' would use; none means all.
func (p Process) show(dir home.Dir, asJSON bool, paths []string) error {
	cfg, err := p.load(dir)
	if err != nil {
		return err
	}
	values := cfg.Values()
	chosen, err := choose(slices.Sorted(maps.Keys(values)), paths)
	if err != nil {
		return err
	}
	if asJSON {
		nested := map[string]any{}
		for _, path := range chosen {
			nest(nested, path, values[path])
		}
		return p.writeJSON(nested)
	}
	for _, path := range chosen {
		text, err := config.Literal(values[path])
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.Stdout, "%s = %s\n", path, text); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the known paths that are one of the wanted, or lie in a table that is.
func choose(known, wanted []string) ([]string, error) {
	if len(wanted) == 0 {
		return known, nil
	}
	var out []string
	var errs []error
	for _, w := range wanted {
		before := len(out)
		for _, k := range known {
			if k == w || strings.HasPrefix(k, w+".") {
				out = append(out, k)
			}
		}
		if len(out) == before {
			errs = append(errs, fmt.Errorf("%s: unknown setting", w))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), errors.Join(errs...)
}

// nest puts a value into tables: server.listen becomes {"server": {"listen": …}}.
func nest(table map[string]any, path string, value any) {
	first, rest, nested := strings.Cut(path, ".")
	if !nested {
		table[path] = value
		return
	}
	inner, ok := table[first].(map[string]any)
	if !ok {
		inner = map[string]any{}
		table[first] = inner
	}
	nest(inner, rest, value)
}

// explained is what is said about a setting.
type explained struct {
	Setting     string `json:"setting"`
	Type        string `json:"type"`
	Default     any    `json:"default"`
	Environment string `json:"environment,omitempty"`
	Meaning     string `json:"meaning"`
}

func (p Process) explain(asJSON bool, args []string) error {
	byPath := map[string]config.Setting{}
	for _, s := range config.Settings() {
		byPath[s.Path] = s
	}
	wanted := make([]string, len(args))
	for i, a := range args {
		wanted[i] = strings.TrimSuffix(a, "?")
	}
	chosen, err := choose(slices.Sorted(maps.Keys(byPath)), wanted)
	if err != nil {
		return err
	}
	var list []explained
	for _, path := range chosen {
		s := byPath[path]
		list = append(list, explained{path, string(s.Kind), s.Default, s.Env(), s.Doc})
	}
	if asJSON {
		return p.writeJSON(list)
	}
	for _, e := range list {
		def, err := config.Literal(e.Default)
		if err != nil || e.Default == nil {
			def = "none"
		}
		if _, err := fmt.Fprintf(p.Stdout, "%s (%s, default %s, %s)\n  %s\n", e.Setting, e.Type, def, e.Environment, e.Meaning); err != nil {
			return err
		}
	}
	return nil
}

func (p Process) writeJSON(v any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
