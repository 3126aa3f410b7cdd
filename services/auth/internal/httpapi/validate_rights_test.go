package httpapi_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// TestTokenKeyAndRootMustEachCover: what any one of the three lists lacks is refused, whatever the others hold.
func TestTokenKeyAndRootMustEachCover(t *testing.T) {
	s := authtest.Start(t)
	for _, c := range []struct {
		token, key, root []string
		method, target   string
		want             string // permissions that the node gets; "" = refused
	}{
		{[]string{"admin"}, []string{"admin"}, []string{"admin"}, "DELETE", "/admin-api/contexts/c1", "admin"},
		{[]string{"admin"}, []string{"context:list"}, []string{"admin"}, "GET", contexts, "context:list"},
		{[]string{"context:list"}, []string{"admin"}, []string{"admin"}, "GET", contexts, "context:list"},
		{[]string{"admin"}, []string{"admin"}, []string{"context:list"}, "GET", contexts, "context:list"},
		{[]string{"admin"}, []string{"context:list"}, []string{"admin"}, "POST", contexts, ""},
		{[]string{"admin"}, []string{"admin"}, []string{"context:list"}, "POST", contexts, ""},
		{[]string{"context:list"}, []string{"admin"}, []string{"admin"}, "POST", contexts, ""},
		{[]string{"context:list"}, []string{"blob:list"}, []string{"admin"}, "GET", contexts, ""},
		{[]string{"context"}, []string{"context:read[c1]"}, []string{"context:list"}, "GET", "/admin-api/contexts/c1", "context:read[c1]"},
		{[]string{"context"}, []string{"context:read[c1]"}, []string{"context:read[c2]"}, "GET", "/admin-api/contexts/c1", ""},
		{[]string{"context"}, []string{"context:read[c1]"}, []string{"context:list"}, "GET", "/admin-api/contexts/c2", ""},
		{[]string{"admin"}, nil, []string{"admin"}, "GET", contexts, ""},
		{[]string{"admin"}, []string{"admin"}, nil, "GET", contexts, ""},
		{[]string{"admin"}, []string{"context[c1]", "context"}, []string{"admin"}, "GET", "/admin-api/contexts/c2", ""},
		{[]string{"admin"}, []string{"nonsense", "Admin", "admin ", "context:*"}, []string{"admin"}, "GET", contexts, ""},
	} {
		root := s.Root(t, c.root...)
		client := s.Mint(t, authtest.Mint{Root: root.Key, Permissions: c.key, Token: c.token})
		got := s.Ask(t, authtest.Question{Form: "nginx", Method: c.method, Target: c.target, Token: client.Access})
		what := strings.Join([]string{"token", strings.Join(c.token, " "), "key", strings.Join(c.key, " "), "root", strings.Join(c.root, " ")}, " ")
		if c.want == "" {
			refused(t, what, got, http.StatusForbidden, identity.PermissionDenied)
		} else {
			allowed(t, what, got, client, c.want)
		}
	}
}

// TestChangesHoldAtOnce warms the cache, makes a change below the HTTP surface and asks once more.
func TestChangesHoldAtOnce(t *testing.T) {
	for _, backend := range []struct {
		name    string
		options []func(*config.Config)
	}{{"memory", nil}, {"bbolt", []func(*config.Config){authtest.OnDisk}}} {
		t.Run(backend.name, func(t *testing.T) { changesHoldAtOnce(t, authtest.Start(t, backend.options...)) })
	}
}

func changesHoldAtOnce(t *testing.T, s *authtest.Service) {
	t.Helper()
	for what, c := range map[string]struct {
		change func(root, client authtest.Token)
		status int
		reason string
	}{
		"family revoked": {func(_, client authtest.Token) { s.RevokeFamily(t, client.Family) }, http.StatusUnauthorized, identity.TokenRevoked},
		"key revoked":    {func(_, client authtest.Token) { s.RevokeKey(t, client.Key) }, http.StatusUnauthorized, identity.TokenRevoked},
		"root revoked":   {func(root, _ authtest.Token) { s.RevokeKey(t, root.Key) }, http.StatusUnauthorized, identity.TokenRevoked},
		"all sessions of the key revoked": {func(_, client authtest.Token) {
			s.Update(t, func(tx *store.Tx) error {
				_, err := tx.RevokeFamilies(client.Key, s.Clock.Now())
				return err
			})
		}, http.StatusUnauthorized, identity.TokenRevoked},
		"key narrowed":         {func(_, client authtest.Token) { s.SetPermissions(t, client.Key, "blob:list") }, http.StatusForbidden, identity.PermissionDenied},
		"root narrowed":        {func(root, _ authtest.Token) { s.SetPermissions(t, root.Key, "blob:list") }, http.StatusForbidden, identity.PermissionDenied},
		"key left nothing":     {func(_, client authtest.Token) { s.SetPermissions(t, client.Key) }, http.StatusForbidden, identity.PermissionDenied},
		"root bound elsewhere": {func(root, _ authtest.Token) { s.SetPermissions(t, root.Key, "admin", "context[c9]") }, 0, ""},
	} {
		root := s.Root(t, "admin")
		client := s.Client(t, root, "context:list", "context:read[c1]")
		bystander := s.Client(t, s.Root(t, "admin"), "context:list")
		q := authtest.Question{Form: "nginx", Target: contexts, Token: client.Access}
		for range 2 {
			allowed(t, what+", before", s.Ask(t, q), client, "context:list,context:read[c1]")
		}
		c.change(root, client)
		got := s.Ask(t, q)
		if c.status == 0 {
			if got.Status != http.StatusOK {
				t.Errorf("%s: %v; admin overrides bindings beside it", what, got)
			}
		} else {
			refused(t, what, got, c.status, c.reason)
		}
		q.Token = bystander.Access
		allowed(t, what+", another key", s.Ask(t, q), bystander, "context:list")
	}
}

// TestMintedKeyEndsWithItsMinter: a key that a client key's token asked for is revoked with that client key.
func TestMintedKeyEndsWithItsMinter(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	minter := s.Client(t, root, "admin")
	minted := s.Client(t, root, "context:list")
	s.Update(t, func(tx *store.Tx) error {
		return tx.CreateKey(store.Key{ID: "minted-by-client", Type: store.Client, RootKeyID: root.Key, MintedBy: minter.Key}, []string{"context:list"})
	})
	inner := s.Mint(t, authtest.Mint{Key: "minted-by-client", Permissions: []string{"context:list"}})
	q := authtest.Question{Form: "nginx", Target: contexts, Token: inner.Access}
	allowed(t, "before", s.Ask(t, q), inner, "context:list")
	s.RevokeKey(t, minter.Key)
	refused(t, "after", s.Ask(t, q), http.StatusUnauthorized, identity.TokenRevoked)
	q.Token = minted.Access
	allowed(t, "the minter's sibling", s.Ask(t, q), minted, "context:list")
}

// TestWideningWaitsForTheRefresh: a key that gets more rights does not give them to tokens that it has.
func TestWideningWaitsForTheRefresh(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	client := s.Client(t, root, "context:list")
	q := authtest.Question{Form: "nginx", Method: "POST", Target: contexts, Token: client.Access}
	refused(t, "before", s.Ask(t, q), http.StatusForbidden, identity.PermissionDenied)
	s.SetPermissions(t, client.Key, "admin")
	refused(t, "after", s.Ask(t, q), http.StatusForbidden, identity.PermissionDenied)
	renewed := s.Mint(t, authtest.Mint{Key: client.Key, Permissions: []string{"admin"}})
	q.Token = renewed.Access
	allowed(t, "with a new token", s.Ask(t, q), renewed, "admin")
}

// TestExpiryOfKeyAndRoot: the node learns the earliest end, and nobody is let in after it.
func TestExpiryOfKeyAndRoot(t *testing.T) {
	s := authtest.Start(t)
	for what, mint := range map[string]func() authtest.Token{
		"key": func() authtest.Token {
			return s.Mint(t, authtest.Mint{Root: s.Root(t, "admin").Key, Permissions: []string{"context:list"}, KeyLife: time.Minute})
		},
		"root": func() authtest.Token {
			root := s.Mint(t, authtest.Mint{Permissions: []string{"admin"}, KeyLife: time.Minute})
			return s.Client(t, root, "context:list")
		},
	} {
		token := mint()
		token.Expires = s.Clock.Now().Add(time.Minute).Unix()
		q := authtest.Question{Form: "nginx", Target: contexts, Token: token.Access}
		allowed(t, what+" live", s.Ask(t, q), token, "context:list")
		s.Clock.Advance(time.Minute - time.Second)
		allowed(t, what+" in its last second", s.Ask(t, q), token, "context:list")
		s.Clock.Advance(time.Second)
		refused(t, what+" over, from the cache", s.Ask(t, q), http.StatusUnauthorized, identity.TokenExpired)
		late := mint()
		s.Clock.Advance(time.Minute)
		q.Token = late.Access
		refused(t, what+" over, never seen", s.Ask(t, q), http.StatusUnauthorized, identity.TokenExpired)
	}
}

// TestFamilyOfAnotherKey: a family belongs to one key; a token whose subject is another one is not of it.
func TestFamilyOfAnotherKey(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	victim, thief := s.Client(t, root, "context:list"), s.Client(t, root, "context:list")
	s.Update(t, func(tx *store.Tx) error {
		f, err := tx.Family(victim.Family)
		if err != nil {
			return err
		}
		f.Key = thief.Key
		return tx.SaveFamily(f)
	})
	got := s.Ask(t, authtest.Question{Form: "nginx", Target: contexts, Token: victim.Access})
	refused(t, "subject and family disagree", got, http.StatusUnauthorized, identity.TokenRevoked)
}

// TestListThatDoesNotFitIsRefusedNotCut: a cut list could lose a binding, and so widen.
func TestListThatDoesNotFitIsRefusedNotCut(t *testing.T) {
	s := authtest.Start(t)
	root := s.Root(t, "admin")
	list := func(n int) []string { // joined: n bytes
		var all []string
		for length := -1; ; {
			p := "context:read[" + strings.Repeat("x", 90) + strconv.Itoa(10+len(all)) + "]"
			rest := n - length - 1
			if rest <= 0 {
				return all
			}
			if rest < 2*len(p) && rest <= 140 {
				p = "context:read[" + strings.Repeat("y", rest-len("context:read[]")) + "]"
			} else if rest < 2*len(p) {
				p = "context:read[" + strings.Repeat("z", rest/2-len("context:read[]")) + "]"
			}
			all, length = append(all, p), length+1+len(p)
		}
	}
	fits, exceeds := list(2048), list(2049)
	if n := len(strings.Join(fits, ",")); n != 2048 {
		t.Fatalf("the list has %d bytes, want 2048", n)
	}
	if n := len(strings.Join(exceeds, ",")); n != 2049 {
		t.Fatalf("the list has %d bytes, want 2049", n)
	}
	target := "/admin-api/contexts/" + strings.TrimSuffix(strings.TrimPrefix(fits[0], "context:read["), "]")
	good := s.Client(t, root, fits...)
	allowed(t, "2048 bytes", s.Ask(t, authtest.Question{Form: "nginx", Target: target, Token: good.Access}), good, strings.Join(fits, ","))

	bad := s.Client(t, root, exceeds...)
	const complaint = "do not fit into a header"
	ask := func() {
		refused(t, "2049 bytes", s.Ask(t, authtest.Question{Form: "nginx", Target: target, Token: bad.Access}), http.StatusForbidden, identity.PermissionDenied)
		refused(t, "2049 bytes, probe", s.Ask(t, authtest.Question{Token: bad.Access}), http.StatusForbidden, identity.PermissionDenied)
	}
	for range 5 {
		ask()
	}
	if n := len(s.Log.Lines(`"level":"ERROR"`, complaint, bad.Key)); n != 1 {
		t.Errorf("%d errors in the log, want 1", n)
	}
	nobody(t, "public route", s.Ask(t, authtest.Question{Form: "nginx", Target: "/admin-api/health", Token: bad.Access}))
	s.Clock.Advance(time.Minute)
	ask()
	if n := len(s.Log.Lines(complaint)); n != 2 {
		t.Errorf("%d errors in the log a minute later, want 2", n)
	}
	if lines := s.Log.Lines(bad.Access); len(lines) > 0 {
		t.Errorf("a token was logged: %q", lines)
	}
}
