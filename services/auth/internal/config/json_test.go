package config_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/toml/v2"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

const jsonFile = "auth.json"

func loadJSON(text string, environ ...string) (config.Config, []config.Warning, error) {
	return config.Load(config.Input{File: jsonFile, Environ: environ, ReadFile: files{jsonFile: text}.read})
}

// A JSON file means what the same settings mean in TOML, warnings and problems included.
func TestLoad_JSONMeansTheSame(t *testing.T) {
	texts := map[string]string{
		"nothing":     "",
		"every type":  "listen_addr = \"127.0.0.1:1\"\n[eth]\nchain_ids = [1, 10]\n[cors]\nallow_all_origins = true\n[assertion]\nttl = 90\n[log]\nlevel = \"debug\"\n",
		"unknown key": "[jwt]\nisuer = \"x\"\n",
		"wrong types": "listen_addr = 1\n[jwt]\naccess_token_expiry = \"long\"\nleeway = 1.5\n[eth]\nchain_ids = \"1\"\n",
		"sections":    "jwt = 1\n[listen_addr]\nx = 1\n",
		"dots":        "\"jwt.issuer\" = \"x\"\n",
	}
	for _, name := range []string{"readme_example.toml", "service_page.toml", "reference_shipped.toml"} {
		texts[name] = readTestdata(t, name)
	}
	for name, text := range texts {
		tree, err := toml.Parser().Unmarshal([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		translated, err := json.MarshalIndent(tree, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want, wantWarnings, wantErr := load(text)
		got, warnings, err := loadJSON(string(translated))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: Load of\n%s\n= %+v\nwant %+v", name, translated, got, want)
		}
		if !reflect.DeepEqual(said(warnings), said(wantWarnings)) {
			t.Errorf("%s: warnings %v, want %v", name, said(warnings), said(wantWarnings))
		}
		if a, b := complaints(err), complaints(wantErr); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: problems %v, want %v", name, a, b)
		}
	}
}

// said drops the places of warnings.
func said(all []config.Warning) map[string]bool {
	set := map[string]bool{}
	for _, w := range all {
		set[w.Key+": "+w.Message] = true
	}
	return set
}

func complaints(err error) map[string]bool {
	set := map[string]bool{}
	if list, is := errors.AsType[config.Problems](err); is {
		for _, p := range list {
			set[p.Key+": "+p.Message] = true
		}
	}
	return set
}

func TestLoad_JSONProblems(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "(auth.json:1:1): this is not JSON for settings: it ends too early"},
		{"cut", "{\n  \"listen_addr\": \"127", "it ends too early"},
		{"TOML", "listen_addr = \"127.0.0.1:1\"\n", "(auth.json:1:"},
		{"no object", "[]", "it is not an object"},
		{"a text", `"x"`, "it is not an object"},
		{"two documents", "{}\n{}", "(auth.json:2:"},
		{"trailing comma", "{\n\"log\": {\"level\": \"info\",}}", "(auth.json:2:"},
		{"a comment", "{\n// x\n}", "(auth.json:2:"},
		{"twice", "{\"log\": {\"level\": \"info\",\n\"level\": \"debug\"}}", "(auth.json:2:8): this is not JSON for settings: a member occurs twice"},
		{"a section twice", `{"log": {}, "log": {}}`, "a member occurs twice"},
		{"null", `{"public_url": null}`, "there is a null: leave the member out instead"},
		{"null in a list", `{"cors": {"allowed_origins": [null]}}`, "there is a null"},
		{"no UTF-8", "{\"public_url\": \"\xff\"}", "it is not UTF-8"},
		{"half a character", `{"public_url": "\ud800"}`, "half a character"},
		{"a number too large", `{"assertion": {"ttl": 1e999}}`, "a number that is too large"},
		{"deep", strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50), "nested too deeply"},
		{"deep lists", `{"a":` + strings.Repeat("[", 100_000), "nested too deeply"},
		{"unknown key", "{\n  \"jwt\": {\n    \"isuer\": \"x\"\n  }\n}", `jwt.isuer (auth.json:3): unknown key`},
		{"other case", `{"JWT": {"issuer": "x"}}`, "JWT (auth.json:1): unknown key"},
		{"wrong type", "{\n\"listen_addr\": 7}", "listen_addr"},
	} {
		_, _, err := loadJSON(tt.text)
		if err == nil {
			t.Errorf("%s: Load(%.60q) succeeds", tt.name, tt.text)
			continue
		}
		list, is := errors.AsType[config.Problems](err)
		if !is || len(list) != 1 || !strings.Contains(list[0].String(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// A mistake in a file that holds a secret does not print it.
func TestLoad_JSONSecretsStaySecret(t *testing.T) {
	for _, text := range []string{
		`{"bootstrap": {"secret": "hunter2-hunter2-hunter2" "x"}}`, `{"bootstrap": {"secret": hunter2}}`, `{"bootstrap": {"secrte": "hunter2"}}`,
		`{"bootstrap": {"secret": "hunter2"}}`, `{"bootstrap": {"secret": {"hunter": "hunter2"}}}`,
	} {
		if _, _, err := loadJSON(text); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Any JSON file gives a usable configuration or a list of problems, as any TOML file does.
func FuzzLoadJSON(f *testing.F) {
	for _, text := range []string{
		"", "{}", `{"jwt":{"issuer":"x","leeway":1.5},"eth":{"chain_ids":[1,[2],{"a":1}]}}`, `{"jwt.issuer":1,"jwt":[{}]}`, `{"a":{"b":{"c":[[[1e5]]]}}}`,
		`{"log":{"level":"info"},"log":1}`, "{\"public_url\":\"\\ud800\"}", `{"public_url":"HTTP://A:80","storage":{"path":"/.."}}`, `{} {}`, `{"x":null}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := loadJSON(text)
		if err != nil {
			list, is := errors.AsType[config.Problems](err)
			if !is || len(list) == 0 || !reflect.DeepEqual(c, config.Config{}) {
				t.Fatalf("Load = %+v, %v, want nothing and at least one problem", c, err)
			}
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("what is no JSON is accepted: %q", text)
		}
	})
}
