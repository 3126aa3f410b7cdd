package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

// writePair writes a new certificate for a name and its key.
func writePair(t *testing.T, dir, name string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRun_TLS(t *testing.T) {
	home, certs := t.TempDir(), t.TempDir()
	writePair(t, certs, "node.example.com")
	env := []string{
		"MEROD_SERVER__AUTH_MODE=none", "MEROD_SERVER__LISTEN=/ip4/127.0.0.1/tcp/" + freeport.Port(),
		"MEROD_SERVER__TLS__CERT_FILE=" + filepath.Join(certs, "cert.pem"), "MEROD_SERVER__TLS__KEY_FILE=" + filepath.Join(certs, "key.pem"),
	}
	at := func(args ...string) []string { return append([]string{"--home", home, "-n", "n"}, args...) }
	r := startMerod(t, env, at("run", "--init")...)
	r.errs.await(`"tls":true`)
	if code, out, errs := merod(t, env, at("healthcheck", "--timeout", "1m")...); code != 0 || out != "ready\n" {
		t.Errorf("healthcheck: exit code %d, %q, %q", code, out, errs)
	}
	writePair(t, certs, "renewed.example.com")
	r.hangup <- syscall.SIGHUP
	r.errs.await("renewed.example.com")
	if code, out, errs := merod(t, env, at("healthcheck", "--timeout", "1m")...); code != 0 || out != "ready\n" {
		t.Errorf("healthcheck after the renewal: exit code %d, %q, %q", code, out, errs)
	}
	other := t.TempDir()
	writePair(t, other, "node.example.com")
	wrong := append(env[:2:2], "MEROD_SERVER__TLS__CERT_FILE="+filepath.Join(other, "cert.pem"), "MEROD_SERVER__TLS__KEY_FILE="+filepath.Join(other, "key.pem"))
	if code, _, errs := merod(t, wrong, at("healthcheck", "--timeout", "1m")...); code != 1 || !strings.Contains(errs, "another certificate") {
		t.Errorf("healthcheck of a stranger: exit code %d, %q", code, errs)
	}
	if code, _, errs := merod(t, env[:3], at("run")...); code != 1 || !strings.Contains(errs, "server.tls") {
		t.Errorf("a certificate without a key: exit code %d, %q", code, errs)
	}
}
