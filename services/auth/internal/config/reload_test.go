package config_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
)

func TestReload(t *testing.T) {
	base := config.Defaults()
	base.PublicURL, base.Providers.EthWallet = "https://node.example", true
	base = base.Resolve()
	for name, tt := range map[string]struct {
		change  func(*config.Config)
		applied []string
		restart []string
	}{
		"nothing": {func(*config.Config) {}, nil, nil},
		"safe":    {func(c *config.Config) { c.Log.Level = "debug"; c.CORS.AllowAllOrigins = true }, []string{"cors.allow_all_origins", "log.level"}, nil},
		"limits":  {func(c *config.Config) { c.Security.RateLimit.RPM = 7 }, []string{"security.rate_limit.rate_limit_rpm"}, nil},
		"networks": {func(c *config.Config) {
			c.Forward.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
		}, []string{"forward.trusted_proxies"}, nil},
		"unsafe": {func(c *config.Config) { c.ListenAddr, c.JWT.AccessExpiry = "127.0.0.1:1", time.Minute }, nil, []string{"listen_addr", "jwt.access_token_expiry"}},
		"both": {
			func(c *config.Config) {
				c.Storage.Path, c.Secrets.KeyDir = "./other", "./keys"
				c.Audit.MaxAge = time.Hour
			},
			[]string{"audit.max_age"},
			[]string{"storage.path", "secrets.key_dir"},
		},
		"the environment's account": {func(c *config.Config) { c.Admin.User, c.Admin.Password = "ops", "long enough" }, nil, []string{"MERO_AUTH_ADMIN_USER"}},
		"a secret":                  {func(c *config.Config) { c.Secrets.MasterKey = "x" }, nil, []string{"secrets.master_key"}},
		// What follows from a setting that needs a restart waits with it.
		"the public address": {
			func(c *config.Config) {
				c.PublicURL, c.Eth.Domain, c.Eth.URI = "https://other.example", "", ""
				*c = c.Resolve()
			},
			nil,
			[]string{"public_url", "eth.domain", "eth.uri"},
		},
		"the network": {
			func(c *config.Config) {
				c.Near = config.Near{Network: "mainnet", AllowLegacyRecipient: true}
				*c = c.Resolve()
			},
			nil,
			[]string{"near.network", "near.rpc_url", "near.wallet_url", "near.helper_url"},
		},
		"the domain alone": {func(c *config.Config) { c.Eth.Domain = "login.example" }, []string{"eth.domain"}, nil},
	} {
		next := base
		tt.change(&next)
		change, err := base.Reload(next)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Equal(change.Applied, tt.applied) || !slices.Equal(change.Restart, tt.restart) {
			t.Errorf("%s: applied %v, restart %v; want %v, %v", name, change.Applied, change.Restart, tt.applied, tt.restart)
		}
		switch {
		case tt.restart == nil && !reflect.DeepEqual(change.Config, next):
			t.Errorf("%s: merged\n%+v\nwant\n%+v", name, change.Config, next)
		case tt.applied == nil && !reflect.DeepEqual(change.Config, base):
			t.Errorf("%s: merged\n%+v\nwant the old\n%+v", name, change.Config, base)
		}
	}
}

// Each value is good, but one of them cannot go together with one that stays: nothing is taken over.
func TestReload_WhatCannotGoTogether(t *testing.T) {
	base := config.Defaults()
	base.Providers.EthWallet = true
	base = base.Resolve()
	next := base
	next.Providers.EthWallet, next.Eth.ChainIDs, next.Log.Level = false, nil, "debug"
	change, err := base.Reload(next)
	if err == nil || !strings.Contains(err.Error(), "eth.chain_ids") || !strings.Contains(err.Error(), "restart") || change.Applied != nil {
		t.Errorf("Reload: %+v, %v", change, err)
	}
}

func TestReport(t *testing.T) {
	c := config.Defaults()
	c.Secrets.MasterKey, c.Admin.User, c.Admin.Password = "c2VjcmV0", "ops", "the password"
	r := config.NewReport(c.Resolve(), []config.Warning{{Key: "k", Message: "m"}}, nil)
	if !r.Valid || len(r.Warnings) != 1 || r.Problems == nil {
		t.Errorf("report %+v", r)
	}
	jwt, _ := r.Settings["jwt"].(map[string]any)
	if jwt["access_token_expiry"] != int64(3600) || r.Settings["listen_addr"] != "127.0.0.1:3001" {
		t.Errorf("settings %v", r.Settings)
	}
	bad := config.NewReport(config.Config{}, nil, config.Problems{{Key: "jwt.issuer", Message: "m"}})
	if bad.Valid || len(bad.Problems) != 1 || bad.Settings != nil || bad.Warnings == nil {
		t.Errorf("report %+v", bad)
	}
}
