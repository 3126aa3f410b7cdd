package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	gotoml "github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// ErrNoFile reports that the node has no configuration file.
var ErrNoFile = errors.New("no configuration file")

// flagSettings names the flags that override a setting.
var flagSettings = map[string]string{"auth-mode": "server.auth_mode"}

// Load reads the file at path, then the variables of environ (as os.Environ lists them), then the changed flags.
// It returns every problem that [Config.Check] would find too, joined into one error, or an error wrapping
// [ErrNoFile]. The warnings name environment variables that look like settings and are none. flags may be nil.
func Load(path string, environ []string, flags *pflag.FlagSet) (Config, []string, error) {
	l, cfg, err := load(path, environ, flags)
	if err != nil {
		return Config{}, nil, err
	}
	return cfg, l.warnings, errors.Join(l.problems...)
}

// LoadToStart is Load for a start: its error lists what [Config.CheckStart] would find, too.
func LoadToStart(path string, environ []string, flags *pflag.FlagSet) (Config, []string, error) {
	l, cfg, err := load(path, environ, flags)
	if err != nil {
		return Config{}, nil, err
	}
	return cfg, l.warnings, errors.Join(errors.Join(l.problems...), join(cfg.startProblems(l.broken)))
}

// load returns an error only when there is nothing to check.
func load(path string, environ []string, flags *pflag.FlagSet) (*loader, Config, error) {
	raw := koanf.New(".")
	if err := raw.Load(file.Provider(path), toml.Parser()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, Config{}, fmt.Errorf("%w at %s", ErrNoFile, path)
		}
		return nil, Config{}, fmt.Errorf("%s: %w", path, syntax(err))
	}
	l := newLoader()
	content := map[string]any{}
	l.flatten("", raw.Raw(), content)
	l.file(content)
	l.environment(environ)
	l.flags(flags)
	cfg := Config{}
	if err := l.k.Unmarshal("", &cfg); err != nil {
		l.problem("configuration", err)
		return nil, Config{}, errors.Join(l.problems...)
	}
	for _, p := range cfg.problems() {
		l.broken[p.path] = true
		l.problems = append(l.problems, p.err)
	}
	return l, cfg, nil
}

// syntax puts line and column in front of an error of the TOML parser.
func syntax(err error) error {
	if d, ok := errors.AsType[*gotoml.DecodeError](err); ok {
		line, column := d.Position()
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return err
}

// loader collects settings and problems. Its koanf holds one form per kind (see [Setting.value]), durations as
// text with a unit, which is what unmarshalling into a time.Duration reads.
type loader struct {
	known    map[string]Setting
	k        *koanf.Koanf
	problems []error
	broken   map[string]bool // the settings that the problems are about
	warnings []string
}

func newLoader() *loader {
	l := &loader{known: index(), k: koanf.New("."), broken: map[string]bool{}}
	defaults := make(map[string]any, len(l.known))
	for path, s := range l.known {
		if s.Kind != Table {
			defaults[path] = held(s, s.Default)
		}
	}
	l.merge(defaults)
	return l
}

func held(s Setting, v any) any {
	if n, ok := v.(int64); ok && s.Kind == Duration {
		return strconv.FormatInt(n, 10) + "s"
	}
	return v
}

// problem records what is wrong with a source: a setting, a variable or more. Of several errors that were joined, about
// entries of a list, each is a problem.
func (l *loader) problem(source string, err error) {
	l.broken[source] = true
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			l.problem(source, err)
		}
		return
	}
	l.problems = append(l.problems, fmt.Errorf("%s: %w", source, err))
}

func (l *loader) merge(values map[string]any) {
	if err := l.k.Load(confmap.Provider(values, "."), nil); err != nil {
		l.problem("merge", err)
	}
}

// errDotted is about a name in quotes. Taken for a path it could say something else than the table that the path leads
// into, and chance would decide which of the two counts.
var errDotted = errors.New("unknown setting; a dot in quotes is a part of the name and leads into no table")

// flatten puts what a table of the file holds into settings, by path. The free table stays whole.
func (l *loader) flatten(prefix string, table, settings map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		path := prefix + name
		nested, _ := table[name].(map[string]any)
		switch {
		case strings.Contains(name, "."):
			l.problem(prefix+strconv.Quote(name), errDotted)
		case len(nested) > 0 && path != "context":
			l.flatten(path+".", nested, settings)
		default:
			settings[path] = table[name]
		}
	}
}

// file takes the flattened content of the file.
func (l *loader) file(content map[string]any) {
	values := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(content)) {
		s, known := l.known[path]
		table, _ := content[path].(map[string]any)
		switch {
		case path == "context":
			// taken as a whole below
		case !known && table != nil && len(table) == 0 && l.isTable(path):
			// an empty table is the same as a missing one
		case !known:
			l.problem(path, l.unknown(path))
		case s.EnvOnly:
			l.problem(path, fmt.Errorf("can only be set by the environment variable %s", s.Env()))
		default:
			v, err := s.value(content[path])
			if err != nil {
				l.problem(path, err)
			}
			if err == nil || readable(v) {
				values[path] = held(s, v)
			}
		}
	}
	if context, ok := content["context"]; ok {
		if _, ok := context.(map[string]any); ok {
			values["context"] = context
		} else {
			l.problem("context", errors.New("want a table"))
		}
	}
	l.defaultCORS(values)
	otherSpelling(values)
	l.merge(values)
}

// readable reports whether v holds those entries of a broken list that could be read: they are checked all the same.
func readable(v any) bool {
	list, ok := v.([]string)
	return ok && len(list) > 0
}

// otherSpelling makes network.server.embedded_auth count like server.auth_mode of the same source, and win over it: init
// writes the latter into every file.
func otherSpelling(values map[string]any) {
	if on, _ := values["network.server.embedded_auth"].(bool); on {
		values["server.auth_mode"] = AuthEmbedded
	}
}

// defaultCORS makes a list of origins effective where nothing else was said about origins.
func (l *loader) defaultCORS(values map[string]any) {
	_, all := values["cors.allow_all_origins"]
	if list, _ := values["cors.allowed_origins"].([]string); len(list) > 0 && !all {
		values["cors.allow_all_origins"] = false
	}
}

func (l *loader) isTable(path string) bool {
	for known := range l.known {
		if strings.HasPrefix(known, path+".") {
			return true
		}
	}
	return false
}

// unknown says that a setting does not exist and names one that is spelled nearly like it.
func (l *loader) unknown(path string) error {
	if l.isTable(path) {
		return errors.New("is a table, not a setting")
	}
	best, bestDistance := "", 4
	for _, known := range slices.Sorted(maps.Keys(l.known)) {
		if d := distance(path, known); d < bestDistance {
			best, bestDistance = known, d
		}
	}
	if best != "" {
		return fmt.Errorf("unknown setting; did you mean %s?", best)
	}
	return errors.New("unknown setting")
}

// distance is the number of insertions, deletions and replacements that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}

// environment takes the settings among the variables. Names that begin like a setting and are none only warn:
// orchestrators inject some.
func (l *loader) environment(environ []string) {
	byName := make(map[string]Setting, len(l.known))
	for _, s := range l.known {
		byName[s.Env()] = s
	}
	values := map[string]any{}
	provider := env.Provider("", env.Opt{Prefix: EnvPrefix, EnvironFunc: func() []string { return environ }, TransformFunc: func(name, text string) (string, any) {
		s, known := byName[name]
		if !known {
			l.warnings = append(l.warnings, name+" is not a setting and has no effect")
			return "", nil
		}
		v, err := s.fromEnv(text)
		if err != nil {
			l.problem(name, err)
			l.broken[s.Path] = true
			if !readable(v) {
				return "", nil
			}
		}
		return s.Path, held(s, v)
	}})
	read, err := provider.Read()
	if err != nil {
		l.problem("environment", err)
		return
	}
	maps.Copy(values, read)
	l.foreign(environ, values)
	l.defaultCORS(values)
	otherSpelling(values)
	slices.Sort(l.warnings)
	l.merge(values)
}

// foreign takes the variables of the reference node, which those who start it set.
func (l *loader) foreign(environ []string, values map[string]any) {
	for _, v := range environ {
		name, text, _ := strings.Cut(v, "=")
		switch name {
		case "RUST_LOG":
			if _, set := values["log.level"]; set || text == "" {
				continue
			}
			level, ok := rustLevel(text)
			if !ok {
				l.warnings = append(l.warnings, "RUST_LOG names no level for everything and has no effect")
				continue
			}
			values["log.level"] = level
		case "NODE_PATH_PREFIX":
			if _, set := values["server.path_prefix"]; !set && text != "" {
				values["server.path_prefix"] = text
			}
		}
	}
}

// rustLevel returns the level for everything in a list of directives such as "info,libp2p=warn".
func rustLevel(text string) (level string, ok bool) {
	levels := map[string]string{"trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "error": "error", "off": "error"}
	for directive := range strings.SplitSeq(text, ",") {
		if l, known := levels[strings.ToLower(strings.TrimSpace(directive))]; known {
			level, ok = l, true
		}
	}
	return level, ok
}

func (l *loader) flags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	provider := posflag.ProviderWithFlag(flags, ".", l.k, func(f *pflag.Flag) (string, any) {
		path, ok := flagSettings[f.Name]
		if !ok || !f.Changed {
			return "", nil
		}
		return path, f.Value.String()
	})
	if err := l.k.Load(provider, nil); err != nil {
		l.problem("flags", err)
	}
}
