package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

const secretMark = "hunter2"

// withSecrets sets every secret that there is to a value with the mark.
func withSecrets(t *testing.T, v reflect.Value) int {
	t.Helper()
	n := 0
	for _, f := range v.Fields() {
		switch {
		case f.Type() == reflect.TypeFor[config.Secret]():
			f.SetString(secretMark + strings.Repeat("x", 20))
			n++
		case f.Type() == reflect.TypeFor[config.Endpoint]():
			f.SetString("https://rpc.example/v3/" + secretMark + "?key=" + secretMark)
			n++
		case f.Kind() == reflect.Struct:
			n += withSecrets(t, f)
		}
	}
	return n
}

func TestConfig_NeverPrintsSecrets(t *testing.T) {
	c := config.Defaults().Resolve()
	if n := withSecrets(t, reflect.ValueOf(&c).Elem()); n != 7 {
		t.Fatalf("Config has %d secrets, this test knows of 7", n)
	}
	c.Admin.User = "ada@node.example"
	printed := map[string]string{"Effective": string(c.Effective())}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%U", "%08.3f"} {
		printed[verb] = fmt.Sprintf(verb, c)
		printed["pointer "+verb] = fmt.Sprintf(verb, &c)
		printed["secret "+verb] = fmt.Sprintf(verb, c.Bootstrap.Secret)
		printed["endpoint "+verb] = fmt.Sprintf(verb, c.Near.RPCURL)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed["JSON"] = string(j)
	var logs bytes.Buffer
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("m", "config", c, "secret", c.Bootstrap.Secret)
	slog.New(slog.NewTextHandler(&logs, nil)).Info("m", "config", c, "secret", c.Bootstrap.Secret)
	printed["slog"] = logs.String()
	if want := `# The environment provisions the account "ada@node.example".`; !strings.Contains(printed["Effective"], want) {
		t.Errorf("Effective does not say %s:\n%s", want, printed["Effective"])
	}
	hex := fmt.Sprintf("%x", secretMark)
	if want := `# rpc_url = "https://rpc.example/REDACTED"`; strings.Count(printed["Effective"], want) != 2 {
		t.Errorf("Effective does not say %s twice:\n%s", want, printed["Effective"])
	}
	for how, text := range printed {
		if strings.Contains(text, secretMark) || strings.Contains(strings.ToLower(text), hex) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
	}
	for _, how := range []string{"%v", "%#v", "JSON", "slog", "Effective"} {
		if !strings.Contains(printed[how], "REDACTED") {
			t.Errorf("%s does not say that a secret is set: %s", how, printed[how])
		}
	}
	if c.Bootstrap.Secret.Reveal() != secretMark+strings.Repeat("x", 20) {
		t.Errorf("Reveal = %q, want the value", c.Bootstrap.Secret.Reveal())
	}
	if got := fmt.Sprint(config.Secret("")); got != "" {
		t.Errorf("an unset secret prints as %q, want nothing", got)
	}
}

// withoutSecrets is what Effective can give back.
func withoutSecrets(c config.Config) config.Config {
	c.Admin = config.Admin{}
	if c.Secrets.MasterKey != "" {
		c.Secrets.MasterKeyFile = ""
	}
	c.Secrets.MasterKey, c.Bootstrap.Secret, c.Near.APIKey, c.Development.MockAuthHeaderValue = "", "", "", ""
	for _, url := range []*config.Endpoint{&c.Eth.RPCURL, &c.Near.RPCURL} {
		if url.KeepsSecret() {
			*url = ""
		}
	}
	return c.Resolve()
}

func TestEffective_LoadsAgain(t *testing.T) {
	tests := []struct {
		name    string
		text    string
		environ []string
	}{
		{name: "defaults"},
		{name: "README", text: readTestdata(t, "readme_example.toml")},
		{name: "shipped", text: strings.Replace(readTestdata(t, "reference_shipped.toml"), "enable_mock_auth = true\n", "", 1)},
		{name: "empty lists", text: "[forward]\ntrusted_proxies = []\nquery_token_paths = []\n[eth]\nchain_ids = []\n"},
		{name: "odd texts", text: "[jwt]\nissuer = 'a\"b\\c é\u00a9 \U0001F511'\n[storage]\npath = 'C:\\data \"x\"'\n"},
		{name: "public_url", text: "public_url = \"https://node.example:8443\"\n"},
		{name: "secrets", environ: []string{
			"AUTH_SECRETS__MASTER_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "AUTH_BOOTSTRAP__SECRET=" + secretOne,
			"NEAR_API_KEY=" + secretTwo, "MERO_AUTH_ADMIN_USER=ada", "MERO_AUTH_ADMIN_PASSWORD=" + secretOne,
			"AUTH_ETH__RPC_URL=https://rpc.example/" + secretTwo, "AUTH_NEAR__RPC_URL=https://rpc.example/?key=" + secretTwo,
		}},
		{name: "endpoints without a secret", environ: []string{
			"AUTH_ETH__RPC_URL=https://eth.example/", "AUTH_NEAR__RPC_URL=http://127.0.0.1:3030",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := mustLoad(t, tt.text, tt.environ...)
			effective := string(c.Effective())
			again, _ := mustLoad(t, effective)
			if want := withoutSecrets(c); !reflect.DeepEqual(again, want) {
				t.Errorf("Load of\n%s\n=\n%+v\nwant\n%+v", effective, again, want)
			}
			for _, e := range tt.environ {
				_, secret, _ := strings.Cut(e, "=")
				if public := secret == "ada" || strings.HasPrefix(tt.name, "endpoints"); !public && strings.Contains(effective, secret) {
					t.Errorf("Effective shows the value of %q:\n%s", e, effective)
				}
			}
		})
	}
}

// What check-config prints for a plain installation must not make it warn when it is used as a file.
func TestEffective_OfDefaultsWarnsOfNothing(t *testing.T) {
	c, _ := mustLoad(t, "")
	if _, warnings := mustLoad(t, string(c.Effective())); len(warnings) > 0 {
		t.Errorf("warnings = %v, want none", warnings)
	}
}

// A key in the address of an RPC service is a secret like any other; the host is what operators want to see.
func TestEndpoint_String(t *testing.T) {
	for url, want := range map[config.Endpoint]string{
		"":                                 "",
		"https://rpc.testnet.near.org":     "https://rpc.testnet.near.org",
		"https://rpc.example:8443/":        "https://rpc.example:8443/",
		"https://rpc.example/v3/hunter2":   "https://rpc.example/REDACTED",
		"https://rpc.example/?key=hunter2": "https://rpc.example/REDACTED",
		"https://u:hunter2@rpc.example":    "https://rpc.example/REDACTED",
		"https://rpc.example/#hunter2":     "https://rpc.example/REDACTED",
		"hunter2":                          "REDACTED",
		"https://rpc.example/%zzhunter2":   "REDACTED",
	} {
		if got := url.String(); got != want {
			t.Errorf("String of %q = %q, want %q", url.Reveal(), got, want)
		}
	}
}
