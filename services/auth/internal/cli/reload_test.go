package cli_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/cli"
)

// hup asks for a reload and waits until the log has one more line with the text.
func (s *service) hup(t *testing.T, text string) {
	t.Helper()
	before := strings.Count(s.text(), text)
	s.reload <- syscall.SIGHUP
	deadline := time.Now().Add(30 * time.Second)
	for strings.Count(s.text(), text) == before {
		if time.Now().After(deadline) {
			t.Fatalf("SIGHUP did not lead to %q: %s", text, s.text())
		}
		s.reload <- syscall.SIGHUP // taken when the one before is done
	}
}

func (s *service) header(t *testing.T, name string) string {
	t.Helper()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.data+"/auth/health", http.NoBody)))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.Header.Get(name)
}

// SIGHUP reads the file again. A broken one changes nothing and every problem is in the log; a good one is taken over
// as far as it can be, and the rest is named.
func TestServe_Reload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[security.headers]\nframe_options = \"DENY\"\n")
	s := serve(t, environment(t), "-c", file)
	write("[security.headers]\nframe_options = \"SAMEORIGIN\"\nhsts_max_age = \"long\"\n[jwt]\nisuer = \"x\"\n")
	s.hup(t, "nothing has changed")
	if !strings.Contains(s.text(), "security.headers.hsts_max_age") || !strings.Contains(s.text(), "jwt.isuer") {
		t.Errorf("the log does not say what is wrong: %s", s.text())
	}
	if got := s.header(t, "X-Frame-Options"); got != "DENY" {
		t.Errorf("a broken file changed X-Frame-Options to %q", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.hup(t, "nothing has changed")
	write("[security.headers]\nframe_options = \"SAMEORIGIN\"\n[jwt]\nissuer = \"another\"\n[log]\nlevel = \"debug\"\n")
	s.hup(t, "need a restart")
	if got := s.header(t, "X-Frame-Options"); got != "SAMEORIGIN" {
		t.Errorf("X-Frame-Options is %q after the reload", got)
	}
	if !strings.Contains(s.text(), `"settings":["jwt.issuer"]`) {
		t.Errorf("the log does not name what needs a restart: %s", s.text())
	}
	write("[log]\nlevel = \"error\"\n[jwt]\nissuer = \"another\"\n")
	s.reload <- syscall.SIGHUP
	s.reload <- syscall.SIGHUP // taken when the first is done
	before := s.text()
	s.header(t, "Server")
	if s.text() != before {
		t.Errorf("at level error a request is logged: %s", strings.TrimPrefix(s.text(), before))
	}
	if code := s.stop(); code != cli.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestCheckConfig_JSON(t *testing.T) {
	type report struct {
		Valid    bool
		Problems []struct{ Key, Value, Origin, Message string }
		Warnings []struct{ Key, Origin, Message string }
		Settings map[string]any
	}
	env := environment(t, "MERO_AUTH_ADMIN_USER=ops", "MERO_AUTH_ADMIN_PASSWORD=hunter-two-two",
		"AUTH_BOOTSTRAP__SECRET=a-long-enough-bootstrap-secret", "AUTH_SERVICE_HOST=10.0.0.1")
	code, stdout, stderr := command(t, env, "check-config", "--json")
	var r report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != cli.ExitOK || stderr != "" {
		t.Fatalf("%d %v %q %q", code, err, stdout, stderr)
	}
	bootstrap, _ := r.Settings["bootstrap"].(map[string]any)
	if !r.Valid || len(r.Problems) != 0 || len(r.Warnings) != 1 || r.Warnings[0].Key != "AUTH_SERVICE_HOST" || bootstrap["secret"] != "REDACTED" {
		t.Errorf("report %+v", r)
	}
	if strings.Contains(stdout, "hunter-two-two") || strings.Contains(stdout, "a-long-enough") {
		t.Errorf("check-config --json prints a secret: %s", stdout)
	}
	file := filepath.Join(t.TempDir(), "auth.toml")
	if err := os.WriteFile(file, []byte("[jwt]\naccess_token_expiry = 1\nisuer = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = command(t, environment(t), "check-config", "--json", "-c", file)
	r = report{}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != cli.ExitError || stderr != "" {
		t.Fatalf("%d %v %q %q", code, err, stdout, stderr)
	}
	if r.Valid || len(r.Problems) != 2 || r.Settings != nil || r.Problems[0].Key != "jwt.access_token_expiry" || !strings.Contains(r.Problems[0].Origin, "auth.toml:2") {
		t.Errorf("report %+v", r)
	}
}
