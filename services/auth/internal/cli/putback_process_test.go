package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// 8: a raw copy of the store's file is put back after a kill -9. What was revoked is good again, as no
// file can tell, but the start says so and ends the challenges, doctor goes on saying it, and the recipe helps.
func TestStoreFilePutBack(t *testing.T) {
	t.Parallel()
	for _, since := range []string{"a start", "a revocation", "a rotation"} {
		t.Run("copied before "+since, func(t *testing.T) {
			t.Parallel()
			c := newCrash(t, buildBinary(t), 11, 1)
			var pair tokenPair
			if status, err := c.call("POST", "/auth/token", "", login("worker-0", ""), &pair); status != http.StatusOK {
				t.Fatalf("login: %d %v", status, err)
			}
			path := filepath.Join(storagePath(c.env), "auth.db")
			old, err := os.ReadFile(path) // nobody writes now, so the copy is whole
			if err != nil {
				t.Fatal(err)
			}
			switch since {
			case "a start":
				c.stop()
				c.start(t)
			case "a revocation":
				before := c.mark(t)
				if status, err := c.call("POST", "/admin/revoke", pair.Access, nil, nil); status != http.StatusOK {
					t.Fatalf("revoke: %d %v", status, err)
				}
				for deadline := time.Now().Add(time.Minute); c.mark(t) == before; {
					if time.Now().After(deadline) {
						t.Fatal("the revocation is not counted")
					}
				}
			case "a rotation":
				c.must(t, "secrets", "rotate", "--kind", "access", "--now")
			}
			c.stop() // kill -9
			if out, _, err := c.run(t, "doctor"); err != nil || strings.Contains(out, "put back, noticed") || strings.Contains(out, "is an old copy") {
				t.Errorf("doctor of a good store: %v\n%s", err, out)
			}
			before := c.challengeKIDs(t)
			if err := os.WriteFile(path, old, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, _, err := c.run(t, "doctor"); err != nil || !strings.Contains(out, "is an old copy that was put back") {
				t.Errorf("doctor before the start: %v\n%s", err, out)
			}
			p := startLimited(t, c.env, c.binary, "serve")
			found := p.logged("an old copy of the store was put back")
			if len(found) != 1 || !strings.Contains(found[0], `"ERROR"`) || !strings.Contains(found[0], "secrets rotate --kind access,refresh --now") {
				t.Errorf("the start says %q, want an error with what to do", found)
			}
			// Its exit code says that the address of the configuration, port 0, is not the one that is listened on.
			if out, _, _ := c.run(t, "doctor"); !strings.Contains(out, "was put back, noticed") || !strings.Contains(out, "rotate --kind access,refresh --now") {
				t.Errorf("doctor afterwards:\n%s", out)
			}
			if _, _, err := c.run(t, "secrets", "rotate", "--kind", "access,refresh", "--now"); err != nil {
				t.Error(err)
			}
			p.finish(t)
			for _, kid := range c.challengeKIDs(t) {
				if slices.Contains(before, kid) {
					t.Errorf("challenges under %s are still taken: one that was used would be good again", kid)
				}
			}
			c.start(t) // whose log may hold information alone: it is noticed once
			if status, err := c.call("GET", "/auth/validate", pair.Access, nil, nil); status != http.StatusUnauthorized {
				t.Errorf("after the recipe: %d %v, want 401", status, err)
			}
			if status, err := c.call("POST", "/auth/token", "", login("admin", ""), &c.admin); status != http.StatusOK {
				t.Fatalf("login: %d %v", status, err)
			}
			var page struct{ Events []struct{ Action string } }
			if status, err := c.call("GET", "/admin/audit?limit=100", c.admin.Access, nil, &page); status != http.StatusOK {
				t.Fatalf("audit: %d %v", status, err)
			}
			told := 0
			for _, e := range page.Events {
				if e.Action == "store.put_back" {
					told++
				}
			}
			if told != 1 {
				t.Errorf("the audit tells of it %d times, want once", told)
			}
		})
	}
}

// mark returns what is kept outside of the store.
func (c *crash) mark(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(storagePath(c.env)+".key", "store.mark"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// challengeKIDs returns the secrets that challenges of a store that is not in use are verified with.
func (c *crash) challengeKIDs(t *testing.T) (kids []string) {
	t.Helper()
	all, stderr, err := c.kids(t)
	if err != nil {
		t.Fatalf("secrets list: %v %s", err, stderr)
	}
	for _, kid := range all {
		if strings.HasPrefix(kid, "challenge ") {
			kids = append(kids, kid)
		}
	}
	return kids
}
