package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Input is everything that Load reads; nothing else of the process has an influence.
type Input struct {
	// File is the configuration file that is read when Flags names none. It may be absent; "" means no file.
	File string

	// Environ has the form of os.Environ.
	Environ []string

	Flags Flags

	// Given are settings that are decided by the program that mero-auth runs in, as a file would hold them. They win over
	// all other sources, which are warned about.
	Given map[string]any

	// ReadFile reads the configuration file and the files that *_FILE variables name; nil means os.ReadFile.
	ReadFile func(name string) ([]byte, error)
}

// Flags are the settings of the command line. Zero values set nothing.
type Flags struct {
	File      string // --config: must exist
	Bind      string // --bind: listen_addr
	Verbosity int    // how often --verbose was given: from 1 on log.level is debug
}

// Load merges the sources: defaults, file, environment, flags, what is given; the later wins. The error is a Problems that lists
// everything that is wrong, also in values that a later source replaces; the Config is then not usable. Warnings are
// returned in both cases.
func Load(in Input) (Config, []Warning, error) {
	l := newLoader(in)
	l.readFile(in.File, in.Flags.File)
	l.readEnvironment(in.Environ)
	l.readFlags(in.Flags)
	l.take(in.Given)
	c := l.config()
	l.relate(c)
	if len(l.problems) > 0 {
		sortProblems(l.problems)
		return Config{}, l.warnings, Problems(l.problems)
	}
	l.advise(c)
	return c, l.warnings, nil
}

// loader collects the sources.
type loader struct {
	schema
	read     func(string) ([]byte, error)
	merged   *koanf.Koanf
	origins  map[string]origin // of the value that counts
	bad      map[string]bool   // keys with a problem: rules about them would only confuse
	idled    map[string]bool   // keys without effect that were warned about
	admin    Admin
	problems []Problem
	warnings []Warning
}

func newLoader(in Input) *loader {
	l := &loader{
		schema:  newSchema(),
		read:    in.ReadFile,
		merged:  koanf.New("."),
		origins: map[string]origin{},
		bad:     map[string]bool{},
		idled:   map[string]bool{},
	}
	if l.read == nil {
		l.read = os.ReadFile
	}
	return l
}

// value is a value of a source, as TOML would give it.
type value struct {
	plain any
	from  origin
}

// layer is one source: values by key.
type layer map[string]value

// apply checks every value of a layer and merges the good ones over what is there.
func (l *loader) apply(values layer) {
	good := map[string]any{}
	for _, f := range l.fields {
		v, ok := values[f.name]
		if !ok {
			continue
		}
		l.warnIdle(f, v.from)
		if _, err := f.decode(v.plain); err != nil {
			for _, err := range each(err) {
				l.problem(Problem{Key: f.name, Value: f.shown(v.plain), Message: err.Error(), at: v.from})
			}
			continue
		}
		good[f.name] = v.plain
		l.origins[f.name] = v.from
	}
	if err := l.merged.Load(confmap.Provider(good, "."), nil); err != nil {
		l.problem(Problem{Message: fmt.Sprintf("cannot merge the settings: %v", err), at: origin{layer: fromNowhere}})
	}
}

// each returns the errors of the single entries of a list, or the one error that there is.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func (l *loader) problem(p Problem) {
	p.Origin = p.at.text
	l.bad[p.Key] = true
	l.problems = append(l.problems, p)
}

func (l *loader) warn(key string, from origin, message string) {
	l.warnings = append(l.warnings, Warning{Key: key, Origin: from.text, Message: message})
}

func (l *loader) warnIdle(f field, from origin) {
	why := f.idle
	if f.mock && !mockBuild {
		why = "mock tokens are not in this build"
	}
	if why == "" || l.idled[f.name] {
		return
	}
	l.idled[f.name] = true
	l.warn(f.name, from, "has no effect: "+why)
}

func (l *loader) readFlags(flags Flags) {
	values := layer{}
	if flags.Bind != "" {
		values["listen_addr"] = value{flags.Bind, origin{layer: fromFlags, text: "flag --bind"}}
	}
	if flags.Verbosity > 0 {
		values["log.level"] = value{"debug", origin{layer: fromFlags, text: "flag --verbose"}}
	}
	l.apply(values)
}

// take puts in force what is given, and names the settings of other sources that it takes the place of.
func (l *loader) take(given map[string]any) {
	values := layer{}
	for name, plain := range given {
		values[name] = value{plain, origin{layer: fromGiven, text: "the node's own settings"}}
	}
	for _, f := range l.fields {
		from := l.origins[f.name]
		if plain, is := given[f.name]; is && from.layer != fromDefaults && !reflect.DeepEqual(plain, l.merged.Get(f.name)) {
			l.warn(f.name, from, "has no effect: the node's own settings decide it")
		}
	}
	l.apply(values)
}

// config lays the merged values over the defaults.
func (l *loader) config() Config {
	c := Defaults()
	c.Admin = l.admin
	for _, f := range l.fields {
		if !l.merged.Exists(f.name) {
			continue
		}
		if v, err := f.decode(l.merged.Get(f.name)); err == nil { // apply let only good values in
			f.of(&c).Set(v)
		}
	}
	return c.Resolve()
}

// names lists every key and section, for suggestions.
func (l *loader) names() []string {
	out := make([]string, 0, len(l.fields)+len(l.sections))
	for _, f := range l.fields {
		out = append(out, f.name)
	}
	for s := range l.sections {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}
