package config_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

// Any file and any variable give either a usable configuration, which survives being printed and read again, or a list
// of problems.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"readme_example.toml", "service_page.toml", "reference_shipped.toml"} {
		f.Add(readTestdata(f, name), "issuer")
	}
	f.Add("", "")
	f.Add("[jwt]\nissuer = \"\\u00e9\\\"\"\n", "é\"\\")
	f.Add("\"jwt.issuer\" = 1\n[[jwt]]\n[eth]\nchain_ids = [1, [2], {a = 1}]\n", "x")
	f.Add("a.b.c = { d = [[[1]]], 'e.f' = 1979-05-27T07:32:00Z }\n", "\x00")
	f.Add("[bootstrap]\nsecret = \"\"\"\nhunter2\"\"\"\n", "\xff")
	f.Add("[near]\nrpc_url = \"https://a?key\"\n[eth]\nrpc_url = \"https://a/key\"\n", "a")
	f.Add("[near]\nrpc_url = \"https://a/key\"\nnetwork = \"localnet\"\n[providers]\nnear_wallet = true\n", "a")
	f.Add("public_url = \"HTTP://A:80\"\n[storage]\npath = '/..'\n", "a")
	f.Fuzz(func(t *testing.T, text, issuer string) {
		c, _, err := load(text, "AUTH_JWT__ISSUER="+issuer)
		if err != nil {
			var list config.Problems
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("Load fails with %T (%v), want at least one problem", err, err)
			}
			if !reflect.DeepEqual(c, config.Config{}) {
				t.Fatalf("Load fails and returns %+v, want nothing", c)
			}
			for _, p := range list {
				if p.Message == "" || strings.ContainsAny(p.Key, "\n\r\x00") {
					t.Fatalf("a problem that cannot be read: %+q", p)
				}
			}
			return
		}
		want := withoutSecrets(c)
		if want.Providers.NearWallet && want.Near.RPCURL == "" {
			return // of a network that we do not know only the operator can say the address, which is not shown
		}
		again, _, err := load(string(c.Effective()))
		if err != nil {
			t.Fatalf("Load of\n%s\nfails: %v", c.Effective(), err)
		}
		if !reflect.DeepEqual(again, want) {
			t.Fatalf("Load of\n%s\n=\n%+v\nwant\n%+v", c.Effective(), again, want)
		}
	})
}
