package application_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/application"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
)

// slowServer keeps every download waiting until the test is over, and counts them.
func slowServer(t *testing.T) (url string, asked func(atLeast int32)) {
	t.Helper()
	var n atomic.Int32
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_, _ = w.Write([]byte("a"))
		_ = http.NewResponseController(w).Flush()
		n.Add(1)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	return s.URL, func(atLeast int32) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); n.Load() < atLeast; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d downloads run, want %d", n.Load(), atLeast)
			}
		}
	}
}

func as(ctx context.Context, key string) context.Context {
	return caller.With(ctx, caller.Caller{Key: key})
}

// hold starts a download that lasts until ctx ends.
func (f *fixture) hold(ctx context.Context, t *testing.T, group *sync.WaitGroup, url string, install bool) {
	t.Helper()
	group.Go(func() {
		var err error
		if install {
			_, err = f.InstallURL(ctx, url+"/a.wasm", application.Options{})
		} else {
			_, err = f.Download(ctx, url+"/x", nil, nil)
		}
		if err == nil {
			t.Error("a download that does not end has succeeded")
		}
	})
}

// Whoever lets blobs be downloaded from a server that never gets done stops neither installations, nor the downloads of
// others.
func TestDownload_SlowServersDoNotStopInstallations(t *testing.T) {
	f := open(t)
	slow, asked := slowServer(t)
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(module("m")) }))
	t.Cleanup(good.Close)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	t.Cleanup(cancel)
	for range 8 {
		f.hold(as(ctx, "attacker"), t, &group, slow, false)
	}
	asked(2)
	soon, done := context.WithTimeout(t.Context(), 2*time.Minute)
	defer done()
	if _, err := f.Download(as(soon, "innocent"), good.URL+"/m", nil, nil); err != nil {
		t.Errorf("a download of another key: %v", err)
	}
	// Even when many keys together hold all places for blobs, installations have theirs.
	f.hold(as(ctx, "accomplice"), t, &group, slow, false)
	f.hold(as(ctx, "accomplice"), t, &group, slow, false)
	asked(4)
	if _, err := f.InstallURL(as(soon, "attacker"), good.URL+"/m.wasm", application.Options{}); err != nil {
		t.Errorf("an installation by URL: %v", err)
	}
	// And when all of those are held, too, what is on this machine can be installed.
	for _, key := range []string{"attacker", "accomplice"} {
		f.hold(as(ctx, key), t, &group, slow, true)
		f.hold(as(ctx, key), t, &group, slow, true)
	}
	asked(8)
	path := f.write(t, "local.wasm", module("local"))
	if _, err := f.InstallPath(as(soon, "attacker"), path, application.Options{}); err != nil {
		t.Errorf("an installation of a file: %v", err)
	}
	// The places are given back.
	cancel()
	group.Wait()
	if _, err := f.Download(as(soon, "attacker"), good.URL+"/m", nil, nil); err != nil {
		t.Errorf("after all have left: %v", err)
	}
}

// What was asked for by somebody who may not have it any more when it is here is not kept.
func TestDownload_RevokedWhileItRuns(t *testing.T) {
	f := open(t)
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(module("m")) }))
	t.Cleanup(good.Close)
	revoked := errors.New("revoked")
	if _, err := f.Download(t.Context(), good.URL+"/m", nil, func() error { return revoked }); !errors.Is(err, revoked) {
		t.Errorf("got %v", err)
	}
	f.empty(t, "a download without a right")
}
