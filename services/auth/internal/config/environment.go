package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Names of the environment that are no keys.
const (
	// EnvPassphrase and EnvPassphraseFile are read by the commands that seal or open a file, and are no settings.
	EnvPassphrase     = "MERO_AUTH_PASSPHRASE"      //nolint:gosec // the name of a variable
	EnvPassphraseFile = "MERO_AUTH_PASSPHRASE_FILE" //nolint:gosec // the name of a variable

	// EnvServer and EnvToken are read by the commands that call a service, and are no settings.
	EnvServer = "MERO_AUTH_SERVER"
	EnvToken  = "MERO_AUTH_TOKEN" //nolint:gosec // the name of a variable

	envAdminUser         = "MERO_AUTH_ADMIN_USER"
	envAdminPassword     = "MERO_AUTH_ADMIN_PASSWORD"      //nolint:gosec // the name of a variable
	envAdminPasswordFile = "MERO_AUTH_ADMIN_PASSWORD_FILE" //nolint:gosec // the name of a variable
	envRustLog           = "RUST_LOG"
)

// envAliases are other names of keys. They give way to the names made from the key.
var envAliases = map[string]string{
	"MERO_AUTH_BOOTSTRAP_SECRET": "bootstrap.secret",
	"NEAR_API_KEY":               "near.api_key",
}

// maxSecretFile bounds a file that holds one secret, in bytes.
const maxSecretFile = 64 << 10

// variable is a name of the environment that sets a key. Of several that are set the highest rank wins.
type variable struct {
	name string
	key  string
	file bool // the value is the name of the file that holds the secret
	rank int
}

// variables lists the names that set a key, weakest first: aliases, then AUTH_, then AUTH__; a file before a value.
func (s schema) variables() []variable {
	var out []variable
	for alias, key := range envAliases {
		out = append(out, variable{alias, key, false, 0}, variable{alias + "_FILE", key, true, 1})
	}
	plain := map[string]bool{}
	for _, f := range s.fields {
		single, double := f.environment()
		plain[single], plain[double] = true, true
		out = append(out, variable{single, f.name, false, 2}, variable{double, f.name, false, 4})
	}
	for _, f := range s.fields {
		single, double := f.environment()
		// AUTH_SECRETS__MASTER_KEY_FILE is a key of its own, with the same meaning.
		if f.secret() && !plain[single+"_FILE"] {
			out = append(out, variable{single + "_FILE", f.name, true, 3}, variable{double + "_FILE", f.name, true, 5})
		}
	}
	slices.SortFunc(out, func(a, b variable) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		return strings.Compare(a.name, b.name)
	})
	return out
}

func fromVariable(name string) origin {
	return origin{layer: fromEnvironment, text: "environment " + name}
}

func (l *loader) readEnvironment(environ []string) {
	env := map[string]string{}
	for _, e := range environ {
		name, v, ok := strings.Cut(e, "=")
		if _, twice := env[name]; ok && !twice {
			env[name] = v // the first counts, as it does for os.Getenv
		}
	}
	values := layer{}
	l.readRustLog(env, values)
	chosen := map[string]variable{}
	vars := l.variables()
	for _, v := range vars {
		text, ok := env[v.name]
		if !ok || (v.file && text == "") {
			continue
		}
		if weaker, ok := chosen[v.key]; ok && env[weaker.name] != text {
			l.warn(weaker.name, fromVariable(weaker.name), "is ignored, because "+v.name+" is set")
		}
		chosen[v.key] = v
	}
	for _, key := range slices.Sorted(maps.Keys(chosen)) {
		if plain, ok := l.readVariable(chosen[key], env[chosen[key].name]); ok {
			values[key] = value{plain, fromVariable(chosen[key].name)}
		}
	}
	l.apply(values)
	l.readAdmin(env)
	l.warnUnknown(env, vars)
}

// readVariable turns the text of a variable into a value; a problem is recorded.
func (l *loader) readVariable(v variable, text string) (any, bool) {
	f := l.byName[v.key]
	from := fromVariable(v.name)
	if v.file {
		secret, err := l.readSecret(text)
		if err != nil {
			l.problem(Problem{Key: v.key, Message: err.Error(), at: from})
			return nil, false
		}
		return secret, true
	}
	plain, err := f.plain(text)
	for _, err := range each(err) {
		l.problem(Problem{Key: v.key, Value: f.shown(strings.ToValidUTF8(text, "?")), Message: err.Error(), at: from})
	}
	return plain, err == nil
}

// readSecret reads a file with one secret. One line end at its end is not part of it.
func (l *loader) readSecret(name string) (string, error) {
	data, err := l.read(name)
	if err != nil {
		return "", fmt.Errorf("cannot read the file that the variable names: %w", err)
	}
	if len(data) > maxSecretFile {
		return "", fmt.Errorf("the file %q is larger than %d bytes: this is no secret", name, maxSecretFile)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if s == "" {
		return "", fmt.Errorf("the file %q is empty", name)
	}
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("the file %q is not valid UTF-8", name)
	}
	return s, nil
}

// readAdmin reads the account to provision. Half a pair is a mistake: it would start without the account.
func (l *loader) readAdmin(env map[string]string) {
	user, password, file := env[envAdminUser], env[envAdminPassword], env[envAdminPasswordFile]
	from := envAdminPassword
	if file != "" {
		from = envAdminPasswordFile
		if password != "" {
			l.warn(envAdminPassword, fromVariable(envAdminPassword), "is ignored, because "+envAdminPasswordFile+" is set")
		}
		var err error
		if password, err = l.readSecret(file); err != nil {
			l.problem(Problem{Key: from, Message: err.Error(), at: fromVariable(from)})
			return
		}
	}
	switch {
	case user == "" && password == "":
		return
	case password == "":
		l.problem(Problem{Key: envAdminUser, Message: "is set without a password: set " + envAdminPasswordFile + " or " + envAdminPassword + " too", at: fromVariable(envAdminUser)})
		return
	case user == "":
		l.problem(Problem{Key: from, Message: "is set without a user: set " + envAdminUser + " too", at: fromVariable(from)})
		return
	}
	if err := errors.Join(checkLine(128)(user), validText(user)); err != nil {
		l.problem(Problem{Key: envAdminUser, Value: shown(strings.ToValidUTF8(user, "?")), Message: err.Error(), at: fromVariable(envAdminUser)})
	}
	if err := validText(password); err != nil {
		l.problem(Problem{Key: from, Message: err.Error(), at: fromVariable(from)})
	}
	l.admin = Admin{User: user, Password: Secret(password)}
	l.origins[envAdminPassword] = fromVariable(from)
}

func validText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("is not valid UTF-8")
	}
	return nil
}

// warnUnknown names what looks like a setting and is none. It does not stop the start: Kubernetes puts names such
// as AUTH_PORT into every container beside a service called auth.
func (l *loader) warnUnknown(env map[string]string, vars []variable) {
	known := []string{envAdminUser, envAdminPassword, envAdminPasswordFile, EnvPassphrase, EnvPassphraseFile, EnvServer, EnvToken}
	for _, v := range vars {
		known = append(known, v.name)
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		ours := strings.HasPrefix(name, "AUTH_") || strings.HasPrefix(name, "MERO_AUTH_")
		if ours && !slices.Contains(known, name) {
			l.warn(name, fromVariable(name), "is no setting"+suggestion(name, known))
		}
	}
}

// readRustLog maps the reference service's log filter, as far as a single level can.
func (l *loader) readRustLog(env map[string]string, values layer) {
	filter, ok := env[envRustLog]
	if !ok || filter == "" {
		return
	}
	level := rustLevel(filter)
	if level == "" {
		l.warn(envRustLog, fromVariable(envRustLog), "is ignored: it names no level; set AUTH_LOG__LEVEL")
		return
	}
	l.warn(envRustLog, fromVariable(envRustLog), fmt.Sprintf("is read as log.level = %q, unless AUTH_LOG__LEVEL or --verbose says otherwise; filters by module have no meaning here", level))
	values["log.level"] = value{level, fromVariable(envRustLog)}
}

// rustLevel takes the level of a directive for this service (its target names auth), else the general one.
func rustLevel(filter string) string {
	levels := map[string]string{"trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "error": "error", "off": "error"}
	filter, _, _ = strings.Cut(filter, "/")
	general := ""
	for directive := range strings.SplitSeq(filter, ",") {
		target, word, ok := strings.Cut(strings.TrimSpace(directive), "=")
		if !ok {
			target, word = "", target
		}
		level := levels[strings.ToLower(word)]
		switch {
		case level == "":
		case strings.Contains(target, "auth"):
			return level
		case target == "":
			general = level
		}
	}
	return general
}
