// Package certificate keeps the node's TLS certificate: two PEM files that another program renews. The files are read
// again when they change and when asked to; files that do not hold together leave the certificate that is in use in
// force, so that a renewal that was caught half done does no harm.
package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxFile bounds what is read of a file in bytes.
	maxFile = 1 << 20
	// soon is when an end of validity is near enough to warn of it.
	soon = 14 * 24 * time.Hour
)

// Files is a certificate with its files. Make it with [Open]. It is safe for concurrent use.
type Files struct {
	certFile, keyFile string
	now               func() time.Time
	log               *slog.Logger

	current atomic.Pointer[loaded]
	mu      sync.Mutex // one reload at a time
	problem string     // what Watch said last of files that are bad, so that it says it once
}

// loaded is what the files held.
type loaded struct {
	certText, keyText []byte
	certificate       tls.Certificate
}

func (l *loaded) same(other *loaded) bool {
	return bytes.Equal(l.certText, other.certText) && bytes.Equal(l.keyText, other.keyText)
}

// Open reads a chain of certificates, the node's own first, and its private key.
func Open(certFile, keyFile string, now func() time.Time, log *slog.Logger) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, now: now, log: log}
	l, err := f.read()
	if err == nil {
		err = l.parse()
	}
	if err != nil {
		return nil, err
	}
	f.current.Store(l)
	f.warn(context.Background(), l)
	return f, nil
}

// Reload reads the files again. On error the certificate that was in use stays.
func (f *Files) Reload(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reload(ctx)
}

// reload puts changed files in force. The caller holds f.mu.
func (f *Files) reload(ctx context.Context) error {
	l, err := f.read()
	if err != nil {
		return err
	}
	if l.same(f.current.Load()) {
		return nil
	}
	if err := l.parse(); err != nil {
		return err
	}
	f.current.Store(l)
	f.log.InfoContext(ctx, "new TLS certificate", "not_after", l.certificate.Leaf.NotAfter, "names", l.certificate.Leaf.DNSNames)
	f.warn(ctx, l)
	return nil
}

// Watch looks for changes of the files at each interval until ctx ends. It compares their content, because what renews
// certificates often replaces a directory or a link above them.
func (f *Files) Watch(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.look(ctx)
		}
	}
}

func (f *Files) look(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	problem := ""
	if err := f.reload(ctx); err != nil {
		problem = err.Error()
	}
	if problem != f.problem && problem != "" {
		f.log.ErrorContext(ctx, "the TLS certificate was not renewed; the old one stays in force", "error", problem)
	}
	f.problem = problem
}

func (f *Files) warn(ctx context.Context, l *loaded) {
	if left := l.certificate.Leaf.NotAfter.Sub(f.now()); left < soon {
		f.log.WarnContext(ctx, "the TLS certificate ends soon", "not_after", l.certificate.Leaf.NotAfter)
	}
}

// TLS returns the configuration of a listener. Each handshake uses the certificate that is then in force.
func (f *Files) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // WebSockets need it
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &f.current.Load().certificate, nil },
	}
}

// PEM returns the chain in force, the node's own certificate first, without whatever else the file holds.
func (f *Files) PEM() []byte {
	var out []byte
	for _, der := range f.current.Load().certificate.Certificate {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return out
}

// NotAfter returns when the certificate in force ends.
func (f *Files) NotAfter() time.Time { return f.current.Load().certificate.Leaf.NotAfter }

func (f *Files) read() (*loaded, error) {
	certText, err := readFile(f.certFile)
	if err != nil {
		return nil, fmt.Errorf("server.tls.cert_file: %w", err)
	}
	keyText, err := readFile(f.keyFile)
	if err != nil {
		return nil, fmt.Errorf("server.tls.key_file: %w", err)
	}
	return &loaded{certText: certText, keyText: keyText}, nil
}

var errTooLarge = errors.New("larger than 1 MiB")

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w", path, errTooLarge)
	}
	return os.ReadFile(path) //nolint:gosec // the operator names the file
}

func (l *loaded) parse() (err error) {
	if l.certificate, err = tls.X509KeyPair(l.certText, l.keyText); err != nil {
		return fmt.Errorf("server.tls: %w", err)
	}
	if l.certificate.Leaf == nil {
		if l.certificate.Leaf, err = x509.ParseCertificate(l.certificate.Certificate[0]); err != nil {
			return fmt.Errorf("server.tls: %w", err)
		}
	}
	return nil
}
