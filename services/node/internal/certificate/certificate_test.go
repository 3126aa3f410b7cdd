package certificate_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/services/node/internal/certificate"
)

var now = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// pair makes a certificate that ends after a while, and its key, as PEM.
func pair(t *testing.T, name string, lasts time.Duration) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lasts), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

type files struct {
	*certificate.Files
	t              *testing.T
	cert, key, dir string
	log            *buffer
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), text)
}

func open(t *testing.T, cert, key []byte) *files {
	t.Helper()
	dir := t.TempDir()
	f := &files{t: t, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), dir: dir, log: &buffer{}}
	f.write(cert, key)
	var err error
	f.Files, err = certificate.Open(f.cert, f.key, func() time.Time { return now }, slog.New(slog.NewTextHandler(f.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *files) write(cert, key []byte) {
	f.t.Helper()
	for path, text := range map[string][]byte{f.cert: cert, f.key: key} {
		// In one step: a watcher that looks meanwhile must not see half a file.
		if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Rename(path+".new", path)); err != nil {
			f.t.Fatal(err)
		}
	}
}

// served returns the name of the certificate that a handshake gets, with the version of the protocol.
func (f *files) served(change func(*tls.Config)) (name string, version uint16, err error) {
	client, server := net.Pipe()
	defer func() { _ = client.Close() }()
	go func() {
		_ = tls.Server(server, f.TLS()).HandshakeContext(context.Background())
		_ = server.Close()
	}()
	config := &tls.Config{InsecureSkipVerify: true}
	if change != nil {
		change(config)
	}
	conn := tls.Client(client, config)
	if err := conn.HandshakeContext(f.t.Context()); err != nil {
		return "", 0, err
	}
	state := conn.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, state.Version, nil
}

func (f *files) serves(want string) {
	f.t.Helper()
	if got, _, err := f.served(nil); got != want || err != nil {
		f.t.Errorf("a handshake got %q, %v, want %q", got, err, want)
	}
}

func TestReload_TakesGoodFilesAndKeepsTheOldForBadOnes(t *testing.T) {
	oneCert, oneKey := pair(t, "one", time.Hour*1000)
	twoCert, twoKey := pair(t, "two", time.Hour*2000)
	f := open(t, oneCert, oneKey)
	f.serves("one")
	for name, bad := range map[string][2][]byte{
		"the other's key":    {oneCert, twoKey},
		"the other's cert":   {twoCert, oneKey},
		"nothing":            {nil, nil},
		"no certificate":     {twoKey, twoKey},
		"half a certificate": {twoCert[:len(twoCert)/2], twoKey},
		"too much":           {bytes.Repeat(twoCert, 1+(1<<20)/len(twoCert)), twoKey},
	} {
		f.write(bad[0], bad[1])
		if err := f.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "server.tls") {
			t.Errorf("%s: %v, want an error that names the setting", name, err)
		}
		f.serves("one")
	}
	f.write(twoCert, twoKey)
	if err := f.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.serves("two")
	if !f.NotAfter().Equal(now.Add(time.Hour * 2000)) {
		t.Errorf("NotAfter: %s", f.NotAfter())
	}
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	if err := f.Reload(t.Context()); err == nil {
		t.Error("no error for a missing key file")
	}
	f.serves("two")
}

func TestWatch_SeesChangesAndSaysAProblemOnce(t *testing.T) {
	oneCert, oneKey := pair(t, "one", time.Hour*1000)
	twoCert, twoKey := pair(t, "two", time.Hour*1000)
	f := open(t, oneCert, oneKey)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Watch(ctx, time.Millisecond) }()
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	const refused = "the old one stays in force"
	f.write(twoCert, oneKey)
	await("the bad files are not reported", func() bool { return f.log.count(refused) > 0 })
	f.serves("one")
	f.write(twoCert, twoKey)
	await("the new certificate is not used", func() bool { name, _, _ := f.served(nil); return name == "two" })
	if n := f.log.count(refused); n != 1 {
		t.Errorf("one problem was reported %d times", n)
	}
	cancel()
	<-done
}

func TestTLS_NothingOlderThan12(t *testing.T) {
	cert, key := pair(t, "one", time.Hour*1000)
	f := open(t, cert, key)
	_, version, err := f.served(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	if err == nil {
		t.Errorf("a handshake with TLS 1.1 succeeded: %x", version)
	}
	if _, version, err := f.served(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err != nil || version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %x %v", version, err)
	}
}

func TestPEM_HoldsNoKey(t *testing.T) {
	cert, key := pair(t, "one", time.Hour*1000)
	f := open(t, append(append([]byte("a remark\n"), key...), cert...), key)
	if got := f.PEM(); !bytes.Equal(got, cert) {
		t.Errorf("got %s, want the certificate alone", got)
	}
}

func TestOpen_WarnsOfTheEnd(t *testing.T) {
	for lasts, want := range map[time.Duration]int{13 * 24 * time.Hour: 1, -time.Minute: 1, 15 * 24 * time.Hour: 0} {
		cert, key := pair(t, "one", lasts)
		if got := open(t, cert, key).log.count("ends soon"); got != want {
			t.Errorf("a certificate that lasts %s: %d warnings, want %d", lasts, got, want)
		}
	}
}
