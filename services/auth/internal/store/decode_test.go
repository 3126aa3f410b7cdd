package store

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// FuzzLiveRecords holds the scan of the live view to encoding/json: what it reads at all, it reads the same.
func FuzzLiveRecords(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"key":"k1","created":1772366400,"client_name":"https://app.example","peer":"192.0.2.1","gen":1,` +
			`"cur":{"access_kid":"a","refresh_kid":"r","access_jti":"x","iat":1,"permissions":["context:list"]},"revoked_at":5}`,
		`{"v":1,"key_type":"Client","created_at":1,"expires_at":9,"root_key_id":"r","name":"n","machine":true}`,
		`{"v":1,"permissions":["admin","context:execute[c1,u1]"]}`, `{"v":1,"permissions":[]}`, `{"v":1,"permissions":null}`,
		`{"key":"a","key":"b"}`, `{"KEY":"a"}`, `{"key":null}`, `{"key":"a\u0062"}`, `{"key":"é"}`, ` {"key":"a"}`, `{"key":"a"} `, `{"key":"a"}x`,
		`{"revoked_at":01}`, `{"revoked_at":1.5}`, `{"revoked_at":1e3}`, `{"revoked_at":-1}`, `{"revoked_at":9223372036854775808}`,
		`{"revoked_at":999999999999999999}`, `{"revoked_at":"1"}`, `{"key":1}`, `{"key":"a"`, `{`, `{}`, ``, `null`, `[]`, `{"key":"a",}`, `{"a":{"b":{}}}`,
		`{"a":[1]}`, `{"a":false}`, `{"a":truex}`, `{"permissions":["a",]}`, `{"permissions":"a"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		compareReadings(t, raw, func(raw []byte) (*readFamily, error) { f, err := decodeLiveFamily(raw); return &f, err })
		compareReadings(t, raw, decodeLiveKey)
		list, err := decodePermissions([]byte(raw))
		var want struct{ Permissions []string }
		wantErr := json.Unmarshal([]byte(raw), &want)
		if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(list, want.Permissions) {
			t.Errorf("%q: permissions %q %v, want %q %v", raw, list, err, want.Permissions, wantErr)
		}
	})
}

func compareReadings[T any](t *testing.T, raw string, decode func([]byte) (*T, error)) {
	t.Helper()
	got, err := decode([]byte(raw))
	want := new(T)
	wantErr := json.Unmarshal([]byte(raw), want)
	if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%q: %+v %v, want %+v %v", raw, got, err, want, wantErr)
	}
}

// TestRecordsAreScanned pins that records as this package writes them need no reflection.
func TestRecordsAreScanned(t *testing.T) {
	family := Family{
		V: 1, Key: "k1", Created: 1, LastRefresh: 2, ClientName: "https://app.example/x", Peer: "2001:db8::/64", Number: 7,
		Current:           Generation{AccessKID: "a", RefreshKID: "b", AccessID: "c", RefreshID: "d", IssuedAt: 1, AccessExpiry: 2, RefreshExpiry: 3, Permissions: []string{"admin", "context:list"}, NodeURL: "https://x"},
		PreviousRefreshID: "p", RotatedAt: 4, SuccessorPresented: true, RevokedAt: 5,
	}
	key := Key{
		V: 1, Type: Client, CreatedAt: 1, RevokedAt: 2, ExpiresAt: 3, NodeURL: "https://x", CreatedBy: "c", RootKeyID: "r",
		Name: "Context Client - c1 (u1)", Machine: true, MintedBy: "m",
	}
	for name, c := range map[string]struct {
		record any
		scan   func([]byte) error
	}{
		"family":      {family, func(raw []byte) error { _, err := decodeLiveFamily(raw); return err }},
		"key":         {key, func(raw []byte) error { _, err := decodeLiveKey(raw); return err }},
		"permissions": {permissionRecord{V: 1, Permissions: []string{"admin", "context[c1,u1]"}}, func(raw []byte) error { _, err := decodePermissions(raw); return err }},
	} {
		raw, err := json.Marshal(c.record)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.scan(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// encoding/json takes a dozen allocations for any of them, the scan one for each text that it keeps.
		if n := testing.AllocsPerRun(100, func() { _ = c.scan(raw) }); n > 6 {
			t.Errorf("%s: %v allocations: it was not scanned", name, n)
		}
		if err := c.scan([]byte(strings.TrimSuffix(string(raw), "}"))); err == nil {
			t.Errorf("%s: half a record was read", name)
		}
	}
}
