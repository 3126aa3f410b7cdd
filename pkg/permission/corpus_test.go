package permission_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

type corpus struct {
	Cases []struct {
		ID       string   `json:"id"`
		Granted  []string `json:"granted"`
		Required string   `json:"required"`
		Expect   string   `json:"expect"`
		Storable bool     `json:"storable"`
	} `json:"cases"`
	Delegation []struct {
		ID        string   `json:"id"`
		Root      []string `json:"root_permissions"`
		Requested []string `json:"requested"`
		Expect    string   `json:"expect"`
	} `json:"delegation_cases"`
}

func readCorpus(t *testing.T) corpus {
	t.Helper()
	data, err := os.ReadFile("testdata/permission_cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var c corpus
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Cases) != 77 || len(c.Delegation) != 15 {
		t.Fatalf("the corpus holds %d and %d cases, want 77 and 15", len(c.Cases), len(c.Delegation))
	}
	return c
}

func TestCorpus_Decisions(t *testing.T) {
	for _, c := range readCorpus(t).Cases {
		t.Run(c.ID, func(t *testing.T) {
			// A requirement that does not parse stays the zero value, which only admin covers.
			required, _ := permission.Parse(c.Required)
			if got, want := permission.NewSet(c.Granted).Allows(required), c.Expect == "allow"; got != want {
				t.Errorf("%.200q allows %q = %v, want %v", c.Granted, c.Required, got, want)
			}
			storable := true
			for _, s := range c.Granted {
				if _, err := permission.Parse(s); err != nil {
					storable = false
				}
			}
			if storable != c.Storable {
				t.Errorf("%.200q: every string parses = %v, want %v", c.Granted, storable, c.Storable)
			}
			if err := permission.Validate(c.Granted); len(c.Granted) <= permission.MaxCount && (err == nil) != c.Storable {
				t.Errorf("Validate(%.200q) = %v, want storable = %v", c.Granted, err, c.Storable)
			}
		})
	}
}

// The delegation cases that this package decides: what is requested must parse, fit the limits, and be the
// holder's to grant.
func TestCorpus_Delegation(t *testing.T) {
	mayBeWritten := func(root, requested []string) bool {
		if permission.Validate(requested) != nil {
			return false
		}
		set := permission.NewSet(root)
		for _, s := range requested {
			if !set.MayGrant(parse(t, s)) {
				return false
			}
		}
		return true
	}
	want := map[string]bool{
		"del-subset":              true,
		"del-widen-scope":         false,
		"del-other-id":            false,
		"del-admin-from-nonadmin": false,
		"del-10k":                 false, // more than MaxCount
		"del-keys-create":         true,  // policy: the holder of admin may; the route asks for admin
		"del-same-second":         true,  // ids are the key service's
		"put-self-escalate":       false,
		"del-context-injection":   true, // without the binding; its ids are refused in TestBinding_TakesIDsOnly
	}
	// These need keys, accounts or history; TestPermissionCorpus_Delegation of mero-auth plays them, and all others, over
	// HTTP.
	elsewhere := map[string]string{
		"del-stale-root":                 "live intersection at use; TestEffective_FollowsTheLiveRoot here covers the list",
		"put-other-escalate":             "names another key instead of a permission",
		"put-last-admin":                 "counts the admin keys",
		"put-add-and-remove-same":        "order of add and remove",
		"create-root-needs-proof":        "proof of the account",
		"create-root-overwrites-revoked": "state of the key",
	}
	for _, c := range readCorpus(t).Delegation {
		t.Run(c.ID, func(t *testing.T) {
			expect, here := want[c.ID]
			if _, there := elsewhere[c.ID]; there == here {
				t.Fatalf("case %s is not assigned to exactly one package", c.ID)
			} else if there {
				return
			}
			if (c.Expect == "refuse") == expect {
				t.Errorf("the corpus expects %q", c.Expect)
			}
			if got := mayBeWritten(c.Root, c.Requested); got != expect {
				t.Errorf("%q may write %.200q = %v, want %v", c.Root, c.Requested, got, expect)
			}
		})
	}
}

func TestBinding_TakesIDsOnly(t *testing.T) {
	p, err := permission.Binding("ctx-1", "member-pk-1")
	if err != nil || p.String() != "context[ctx-1,member-pk-1]" {
		t.Errorf("Binding = %v, %v", p, err)
	}
	p, err = permission.Binding("ctx-1", "")
	if err != nil || p.String() != "context[ctx-1]" {
		t.Errorf("Binding without identity = %v, %v", p, err)
	}
	for _, bad := range []string{"x],admin[", "a:b", "*", "a\x00", " ", "a,b", "é", "a b", string(make([]byte, 200))} {
		if p, err := permission.Binding(bad, "alice"); err == nil {
			t.Errorf("context %q makes %v", bad, p)
		}
		if p, err := permission.Binding("ctx-1", bad); err == nil {
			t.Errorf("identity %q makes %v", bad, p)
		}
	}
	if _, err := permission.Binding("", "alice"); err == nil {
		t.Error("a binding without context is made")
	}
}
