package cli_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// documented returns the code of docs/providers.md that goes into the place which its first line names.
func documented(t *testing.T, page, place string) string {
	t.Helper()
	_, after, found := strings.Cut(page, "\n```go\n// "+place+"\n")
	code, _, closed := strings.Cut(after, "```\n")
	if !found || !closed || strings.TrimSpace(code) == "" {
		t.Fatalf("docs/providers.md has no code for %q", place)
	}
	return code
}

// buildWithDocumentedProvider makes a mero-auth whose sources are ours and the lines that docs/providers.md adds.
func buildWithDocumentedProvider(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	page, dir := string(raw), t.TempDir()
	const registration = "services/auth/internal/app/providers.go, in openProviders before its return"
	line := documented(t, page, registration)
	_, rest, _ := strings.Cut(page, line)
	switched := documented(t, rest, registration)
	if !strings.Contains(switched, "\t"+line) {
		t.Errorf("with a switch the line is another:\n%s\nthan without:\n%s", switched, line)
	}
	const (
		example = "\t\"github.com/calimero-network/mero-go/services/auth/internal/provider/example\"\n"
		imports = "\t\"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum\"\n"
		field   = "\tUserPassword bool `koanf:\"user_password\"`\n"
		row     = "\t{name: \"providers.user_password\", meaning: \"Login with a name and a password.\"},\n"
		end     = "\treturn list\n}\n"
	)
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, edits := range map[string][][2]string{
		"app/providers.go":   {{imports, imports + example}, {end, switched + end}},
		"config/config.go":   {{field, field + documented(t, page, "services/auth/internal/config/config.go, at the end of Providers")}},
		"config/settings.go": {{row, row + documented(t, page, "services/auth/internal/config/settings.go, after the row of providers.user_password")}},
	} {
		path, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := string(source)
		for _, edit := range edits {
			if strings.Count(text, edit[0]) != 1 {
				t.Fatalf("%s has %d times %q, where the page adds its lines", file, strings.Count(text, edit[0]), edit[0])
			}
			text = strings.Replace(text, edit[0], edit[1], 1)
		}
		overlay.Replace[path] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(overlay.Replace[path], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err = json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "mero-auth")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary, "../../cmd/mero-auth")
	build.Env = append(build.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the lines of docs/providers.md do not compile where the page puts them: %v\n%s", err, out)
	}
	return binary
}

// What docs/providers.md tells somebody to write is compiled in its place and logs in over HTTP.
func TestDocumentedProvider(t *testing.T) {
	c := &crash{binary: buildWithDocumentedProvider(t), env: environment(t, "AUTH_BOOTSTRAP__SECRET=a configured bootstrap secret")}
	check := exec.CommandContext(context.WithoutCancel(t.Context()), c.binary, "check-config")
	check.Env = c.env
	if out, err := check.CombinedOutput(); err != nil || !strings.Contains(string(out), "device_key = false") {
		t.Errorf("without a word about it: %v\n%s", err, out)
	}
	// The only one: whoever wants it may switch the others off.
	c.env = with(c.env, "AUTH_PROVIDERS__DEVICE_KEY=true", "AUTH_PROVIDERS__USER_PASSWORD=false")
	c.start(t)
	var listed struct {
		Providers []struct {
			Name       string
			Configured bool
		}
	}
	if _, err := c.call("GET", "/auth/providers", "", nil, &listed); err != nil || len(listed.Providers) != 1 ||
		listed.Providers[0].Name != "device_key" || !listed.Providers[0].Configured {
		t.Fatalf("providers: %+v, %v, want device_key alone", listed, err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	login := func(method, domain string) (pair tokenPair, status int, err error) {
		t.Helper()
		var issued struct{ Challenge string }
		if _, err := c.call("GET", "/auth/challenge?method=device_key", "", nil, &issued); err != nil {
			t.Fatal(err)
		}
		status, err = c.call("POST", "/auth/token", "", map[string]any{
			"auth_method": method, "public_key": base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:]), "client_name": "a device", "timestamp": 0,
			"provider_data": map[string]string{
				"challenge": issued.Challenge, "bootstrap_secret": "a configured bootstrap secret",
				"signature": base64.StdEncoding.EncodeToString(ed25519.Sign(key, []byte(domain+issued.Challenge))),
			},
		}, &pair)
		return pair, status, err
	}
	if _, status, err := login("device_key", "another text:"); status != 401 || err == nil {
		t.Errorf("a signature of something else: %d, %v", status, err)
	}
	first, status, err := login("device_key", "device-login:")
	if err != nil || status != 200 {
		t.Fatalf("first login: %d, %v", status, err)
	}
	again, status, err := login("device", "device-login:")
	if err != nil || status != 200 || subject(t, again.Access) != subject(t, first.Access) {
		t.Errorf("login by the alias: %d, %v", status, err)
	}
	if status, err := c.call("GET", "/admin/keys", again.Access, nil, nil); err != nil {
		t.Errorf("the administrator: %d, %v", status, err)
	}
}
