package cors_test

import (
	"net/http"
	"testing"

	"github.com/calimero-network/mero-go/pkg/cors"
)

func TestAllowsUpgrade_CrossSiteWebSocketHijacking(t *testing.T) {
	listed, err := cors.New(cors.Policy{Origins: []string{"https://app.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	open, err := cors.New(cors.Policy{AllowAll: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rules   *cors.Rules
		origins []string
		want    bool
	}{
		{listed, nil, true},
		{listed, []string{"https://app.example.com"}, true},
		{listed, []string{"https://node.example.com"}, true}, // the same host
		{listed, []string{"https://NODE.example.com"}, true},
		{listed, []string{"https://node.example.com:8443"}, false},
		{listed, []string{"https://evil.example"}, false},
		{listed, []string{"https://app.example.com.evil.example"}, false},
		{listed, []string{"http://app.example.com"}, false},
		{listed, []string{"null"}, false},
		{listed, []string{""}, false},
		{listed, []string{"https://"}, false},
		{listed, []string{"file://node.example.com"}, false},
		{listed, []string{"https://app.example.com", "https://evil.example"}, false},
		{open, []string{"https://evil.example"}, true},
	} {
		r := &http.Request{Host: "node.example.com", Header: http.Header{}}
		if c.origins != nil {
			r.Header["Origin"] = c.origins
		}
		if got := c.rules.AllowsUpgrade(r); got != c.want {
			t.Errorf("Origin %q: %v, want %v", c.origins, got, c.want)
		}
	}
}
