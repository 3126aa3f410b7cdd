package assertion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fetchTimeout bounds one reading of a key set over HTTP, the body included.
	fetchTimeout = 5 * time.Second

	// replacedBits are the modes that let somebody other than the owner replace a file of public keys.
	replacedBits fs.FileMode = 0o022
)

// Published is the key set of a gate, as it was last read from a file or a URL. It is safe for concurrent use;
// verifying takes no lock unless an assertion names a key that the set lacks.
type Published struct {
	read func(context.Context) ([]byte, error)
	now  func() time.Time
	set  atomic.Pointer[KeySet] // nil until it was read

	mu       sync.Mutex // serialises reading
	lastRead time.Time  // the end of the last reading, good or bad
}

// PublishedFile returns the key set in the file path, which only its owner may be able to write.
func PublishedFile(path string, now func() time.Time) *Published {
	return &Published{now: now, read: func(context.Context) ([]byte, error) { return readSetFile(path) }}
}

// PublishedURL returns the key set at an address. It is asked directly, not through a proxy of the environment,
// and a redirect is an error: whoever answers says who may speak for everybody.
func PublishedURL(address string, now func() time.Time) *Published {
	client := &http.Client{
		Timeout:       fetchTimeout,
		Transport:     &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 16 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Published{now: now, read: func(ctx context.Context) ([]byte, error) { return fetchSet(ctx, client, address) }}
}

func readSetFile(path string) (text []byte, err error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own configuration names the file
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKeySet, path)
	case st.Mode().Perm()&replacedBits != 0:
		return nil, fmt.Errorf("%w: %s: mode %04o lets others replace the keys; want 0644 or narrower", ErrKeySet, path, st.Mode().Perm())
	}
	return io.ReadAll(io.LimitReader(f, MaxSetText+1))
}

func fetchSet(ctx context.Context, client *http.Client, address string) (text []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: the gate answered %s", ErrKeySet, res.Status)
	}
	text, err = io.ReadAll(io.LimitReader(res.Body, MaxSetText+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeySet, err)
	}
	return text, nil
}

// Reload reads the set again, for the start and for SIGHUP. On error the set stays as it was.
func (p *Published) Reload() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reload(context.Background())
}

// reload replaces the set; p.mu is held.
func (p *Published) reload(ctx context.Context) error {
	defer func() { p.lastRead = p.now() }() // at the end: a gate that stalls must not be asked by one caller after another
	text, err := p.read(ctx)
	if err != nil {
		return err
	}
	set, err := ParseJWKS(text)
	if err != nil {
		return err
	}
	p.set.Store(set)
	return nil
}

// Run reads the set again at an interval until ctx ends, so that a key that the gate has withdrawn stops being
// good. A reading that fails is logged and changes nothing.
func (p *Published) Run(ctx context.Context, interval time.Duration, log *slog.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		err := p.reload(ctx)
		p.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "the gate's assertion keys were not read again, the old ones stay", "error", err)
		}
	}
}

// Verify is [KeySet.Verify] at the clock of p. An assertion by an unknown key makes it read the set again, at most
// once a second, because the gate may have rotated; if that fails the error says why.
func (p *Published) Verify(header string, c Claim, leeway, maxTTL time.Duration) error {
	set := p.set.Load()
	err := p.verify(set, header, c, leeway, maxTTL)
	if !errors.Is(err, ErrUnknownKey) {
		return err
	}
	fresh, readErr := p.refresh(set)
	if readErr != nil {
		return fmt.Errorf("%w (%w)", err, readErr)
	}
	if fresh == set {
		return err
	}
	return p.verify(fresh, header, c, leeway, maxTTL)
}

func (p *Published) verify(set *KeySet, header string, c Claim, leeway, maxTTL time.Duration) error {
	if set == nil {
		set = &KeySet{}
	}
	return set.Verify(header, c, p.now(), leeway, maxTTL)
}

// refresh returns the set that replaced stale, after reading it if nobody did within the last second.
func (p *Published) refresh(stale *KeySet) (*KeySet, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if set := p.set.Load(); set != stale {
		return set, nil // replaced while we waited
	}
	if since := p.now().Sub(p.lastRead); !p.lastRead.IsZero() && since >= 0 && since < rereadEvery {
		return stale, nil
	}
	if err := p.reload(context.Background()); err != nil {
		return nil, err
	}
	return p.set.Load(), nil
}
