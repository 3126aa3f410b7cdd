package multiaddr_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/multiaddr"
)

// valid are addresses as they stand in configuration files of nodes; tcp is the endpoint, if it is one.
var valid = []struct{ text, tcp string }{
	{"/ip4/127.0.0.1/tcp/2528", "127.0.0.1:2528"},
	{"/ip4/0.0.0.0/tcp/0", "0.0.0.0:0"},
	{"/ip6/::1/tcp/2528", "[::1]:2528"},
	{"/ip6/::/tcp/65535", "[::]:65535"},
	{"/ip4/0.0.0.0/udp/2428/quic-v1", ""},
	{"/dns4/boot.example.com/tcp/4001/ws/p2p/12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRzQ6FENEemvpg", ""},
	{"/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN", ""},
	{"/ip4/10.0.0.1/tcp/1/p2p/12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRzQ6FENEemvpg/p2p-circuit", ""},
}

func TestParse(t *testing.T) {
	for _, tt := range valid {
		a, err := multiaddr.Parse(tt.text)
		if err != nil || a.String() != tt.text {
			t.Errorf("Parse(%q) = %q, %v", tt.text, a, err)
			continue
		}
		got, err := a.TCP()
		switch {
		case tt.tcp == "" && !errors.Is(err, multiaddr.ErrInvalid):
			t.Errorf("TCP of %q = %v, %v, want ErrInvalid", tt.text, got, err)
		case tt.tcp != "" && (err != nil || got.String() != tt.tcp):
			t.Errorf("TCP of %q = %v, %v, want %s", tt.text, got, err, tt.tcp)
		case tt.tcp != "" && multiaddr.FromTCP(got).String() != tt.text:
			t.Errorf("FromTCP(%v) = %q, want %q", got, multiaddr.FromTCP(got), tt.text)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, s := range []string{
		"", "/", "//", "ip4/127.0.0.1/tcp/1", "/ip4", "/ip4/", "/ip4/127.0.0.1/tcp", "/ip4/127.0.0.1/tcp/", "/ip4/127.0.0.1/tcp/2528/",
		"/ip4/127.0.0.1:2528", "/ip4/::1/tcp/1", "/ip6/127.0.0.1/tcp/1", "/ip6/fe80::1%eth0/tcp/1", "/ip6/0:0:0:0:0:0:0:1/tcp/1",
		"/ip4/127.0.0.01/tcp/1", "/ip4/127.0.0.1/tcp/65536", "/ip4/127.0.0.1/tcp/-1", "/ip4/127.0.0.1/tcp/007", "/IP4/127.0.0.1/tcp/1",
		"/dns4/a..b/tcp/1", "/dns4/a b/tcp/1", "/p2p/12D3", "127.0.0.1:2528", "/onion/x", "/dns/" + strings.Repeat("a.", 300) + "a",
	} {
		if got, err := multiaddr.Parse(s); !errors.Is(err, multiaddr.ErrInvalid) {
			t.Errorf("Parse(%.60q) = %q, %v, want ErrInvalid", s, got, err)
		}
	}
}

func TestFromTCP_MappedAddressIsIPv4(t *testing.T) {
	if got := multiaddr.FromTCP(netip.MustParseAddrPort("[::ffff:10.1.2.3]:80")).String(); got != "/ip4/10.1.2.3/tcp/80" {
		t.Errorf("got %q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range valid {
		f.Add(tt.text)
	}
	f.Add("/ip4//tcp/1")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := multiaddr.Parse(s)
		if err != nil {
			if !errors.Is(err, multiaddr.ErrInvalid) {
				t.Errorf("Parse(%q): %v is not ErrInvalid", s, err)
			}
			return
		}
		if a.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, a)
		}
		if ap, err := a.TCP(); err == nil && multiaddr.FromTCP(ap).String() != s {
			t.Errorf("FromTCP(TCP(%q)) = %q", s, multiaddr.FromTCP(ap))
		}
	})
}
