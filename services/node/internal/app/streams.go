package app

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/certificate"
	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/httpapi"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/metrics"
	"github.com/calimero-network/mero-go/services/node/internal/peer"
	"github.com/calimero-network/mero-go/services/node/internal/store"
	"github.com/calimero-network/mero-go/services/node/internal/stream"
)

const (
	// streamWrite is how long a client of a stream has to take what is sent.
	streamWrite = 30 * time.Second
	// certificateEvery is how often the files of the certificate are looked at.
	certificateEvery = 10 * time.Second
)

// streams makes what serves WebSocket and SSE, and gives it to the API.
func (a *App) streams(o Options) error {
	s := a.cfg.Server
	var execute stream.Execute // what is not called over HTTP is not called over a WebSocket either
	if s.JSONRPC.Enabled {
		execute = executeOn(a.api.RPC)
	}
	hub, err := stream.New(stream.Config{
		MaxConnections: s.Stream.MaxConnections, MaxPerKey: s.Stream.MaxPerKey, MaxTopics: s.Stream.MaxSubscriptions,
		MaxMessage:   s.WebSocket.MaxMessageBytes,
		PingInterval: time.Duration(s.WebSocket.PingIntervalSec) * time.Second,
		PongTimeout:  time.Duration(s.WebSocket.PongTimeoutSec) * time.Second,
		KeepAlive:    time.Duration(s.SSE.KeepAliveSec) * time.Second,
		WriteTimeout: streamWrite,
	}, a.api.Events, a.api.Store, execute, o.Now, o.Log)
	if err != nil {
		return err
	}
	a.api.Streams = hub
	a.cleanup = append(a.cleanup, func() error { hub.Close(); return nil })
	return nil
}

// name gives the API what the node is called.
func (a *App) name(o Options) error {
	key, err := peer.ParseKeypair(a.cfg.Identity.Keypair.Reveal())
	if err != nil {
		return fmt.Errorf("identity.keypair: %w", err)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return fmt.Errorf("identity.keypair: public key of type %T", key.Public())
	}
	a.api.Node = httpapi.Node{PeerID: a.cfg.Identity.PeerID, PublicKey: id.ID(public), Mode: a.cfg.Mode, Started: o.Now()}
	return nil
}

// certificate opens the TLS certificate, if there is one, and looks for new ones until the node stops.
func (a *App) certificate(o Options) error {
	files := a.cfg.Server.TLS
	if files == (config.TLS{}) {
		return nil
	}
	c, err := certificate.Open(o.Home.Path(files.CertFile), o.Home.Path(files.KeyFile), o.Now, o.Log)
	if err != nil {
		return err
	}
	a.api.Certificate = c
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Watch(ctx, certificateEvery)
	}()
	a.cleanup = append(a.cleanup, func() error {
		cancel()
		<-done
		return nil
	})
	return nil
}

// connections counts the connections of all listeners.
func (a *App) connections(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		a.open.Add(1)
	case http.StateHijacked, http.StateClosed:
		a.open.Add(-1)
	}
}

// totals are the figures of a scrape that are kept elsewhere.
func (a *App) totals() (t metrics.Totals, err error) {
	err = a.api.Store.View(context.Background(), func(tx *store.Tx) error {
		blobs, err := tx.BlobTotal()
		if err != nil {
			return err
		}
		log, err := tx.EventLog()
		t = metrics.Totals{
			Blobs: blobs.Count, BlobBytes: blobs.Bytes, Contexts: int64(tx.CountContexts()), Applications: int64(tx.CountApplications()),
			LoggedEvents: log.Count, LoggedEventBytes: log.Bytes,
		}
		return err
	})
	t.Connections = a.open.Load()
	events, streams := a.api.Events.Stats(), a.api.Streams.Stats()
	t.Events, t.Deliveries, t.Subscribers = events.Events, events.Deliveries, events.Subscribers
	t.Streams = map[string]int{}
	for kind, n := range streams.Connections {
		t.Streams[kind.String()] = n
	}
	for ending, n := range streams.Ended {
		t.Ended = append(t.Ended, metrics.Ended{Kind: ending.Kind.String(), Reason: ending.Reason, Count: n})
	}
	if a.api.Certificate != nil {
		t.CertificateEnds = a.api.Certificate.NotAfter()
	}
	return t, err
}
