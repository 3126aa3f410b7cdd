//go:build root

package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// smallDisk mounts a file system of its own for one test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size="+size+",mode=0700"); err != nil {
		t.Fatalf("mount a tmpfs (these tests need root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the space that is left and returns a function that gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull_NothingIsIssuedThatIsNotStored fills the disk under a running service: what was issued goes on, nothing
// new is issued, and it recovers without a restart.
func TestDiskFull_NothingIsIssuedThatIsNotStored(t *testing.T) {
	disk := smallDisk(t, "16m")
	s := authtest.Start(t, func(c *config.Config) {
		c.Storage.Type, c.Storage.Path = "bbolt", filepath.Join(disk, "auth")
		c.Secrets.KeyDir = filepath.Join(disk, "keys")
		c.Bootstrap.Mode = "first-login"
		c.Security.MaxClients = 1_000_000
	})
	post := func(path, token string, body any) (int, string) {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Addr+path, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var pair struct {
			Data struct {
				Access string `json:"access_token"`
			}
		}
		_ = json.Unmarshal(answer, &pair) // a refusal has no token
		return res.StatusCode, pair.Data.Access
	}
	validate := func(token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr+"/auth/validate", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	login := map[string]any{
		"auth_method": "user_password", "public_key": "a", "client_name": "test", "timestamp": 1,
		"provider_data": map[string]string{"username": "admin", "password": "a long password"},
	}
	status, admin := post("/auth/token", "", login)
	if status != http.StatusOK {
		t.Fatalf("first login: %d", status)
	}
	mint := func(i int) (int, string) {
		return post("/admin/client-key", admin, map[string]any{"permissions": []string{"blob:list"}, "name": fmt.Sprintf("%0128d", i)})
	}
	free := fill(t, disk)
	var issued []string
	refused := 0
	// The store file has some free pages left, so the first few may still fit.
	for i := 0; refused < 3; i++ {
		if i == 20_000 {
			t.Fatal("a full disk never refused anything")
		}
		status, token := mint(i)
		switch {
		case status == http.StatusOK:
			issued = append(issued, token)
		case status == http.StatusServiceUnavailable && token == "":
			refused++
		default:
			t.Fatalf("full disk: status %d, token given: %t", status, token != "")
		}
	}
	for _, token := range append(issued, admin) {
		if got := validate(token); got != http.StatusOK {
			t.Fatalf("a token that was issued validates with %d while the disk is full", got)
		}
	}
	free()
	if status, token := mint(-1); status != http.StatusOK || validate(token) != http.StatusOK {
		t.Errorf("with space again: %d, want a working token without a restart", status)
	}
}
