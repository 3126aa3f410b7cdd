package authtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

const (
	populateBatch = 10_000
	clientsOfRoot = 100
)

// Populate stores n client keys, each with permissions, a session of its own and one of n/100 root keys above it, and
// returns the tokens of sample of them, evenly spread. Ids ascend, which makes a million keys a matter of seconds.
func (s *Service) Populate(t testing.TB, n, sample int, permissions ...string) []Token {
	t.Helper()
	now := s.Clock.Now().Unix()
	families := make([]store.Family, 0, sample)
	for first := 0; first < n; first += populateBatch {
		last := min(first+populateBatch, n)
		var batch []store.Family
		s.Update(t, func(tx *store.Tx) error {
			batch = batch[:0]
			for i := first; i < last; i++ {
				root := fmt.Sprintf("%08x-5eed-4000-9000-000000000000", i/clientsOfRoot)
				if i%clientsOfRoot == 0 {
					if err := tx.CreateKey(store.Key{ID: root, Type: store.Root, CreatedAt: now, AuthMethod: "test"}, []string{"admin"}); err != nil {
						return err
					}
				}
				key := store.Key{
					ID: fmt.Sprintf("%08x-5eed-4000-8000-000000000000", i), Type: store.Client, CreatedAt: now, RootKeyID: root,
					Name: "Context Client - seed", CreatedBy: root,
				}
				family := s.Issuer.Begin(login.Grant{Key: key.ID, Permissions: permissions, ClientName: key.Name, Peer: "192.0.2.1"})
				family.ID = fmt.Sprintf("%02x%06x-5eed-4000-a000-000000000000", i%256, i) // sweeps go by the first two digits
				if err := errors.Join(tx.CreateKey(key, permissions), tx.CreateFamily(family)); err != nil {
					return err
				}
				if i*sample/n != (i+1)*sample/n {
					batch = append(batch, family)
				}
			}
			return nil
		})
		families = append(families, batch...)
	}
	return s.sign(t, families)
}

// Sessions stores n further sessions of minted keys, in turns, and returns their tokens.
func (s *Service) Sessions(t testing.TB, of []Token, n int, permissions ...string) []Token {
	t.Helper()
	families := make([]store.Family, n)
	for i := range families {
		families[i] = s.Issuer.Begin(login.Grant{Key: of[i%len(of)].Key, Permissions: permissions, ClientName: "seed", Peer: "192.0.2.1"})
		families[i].ID = fmt.Sprintf("%02x%06x-5eed-4000-b000-000000000000", i%256, i)
	}
	for batch := range slices.Chunk(families, populateBatch) {
		s.Update(t, func(tx *store.Tx) (err error) {
			for _, f := range batch {
				err = errors.Join(err, tx.CreateFamily(f))
			}
			return err
		})
	}
	return s.sign(t, families)
}

// sign returns the tokens of families that were made in one go.
func (s *Service) sign(t testing.TB, families []store.Family) []Token {
	t.Helper()
	tokens := make([]Token, len(families))
	for i, f := range families {
		if i == 0 {
			s.Update(t, func(tx *store.Tx) error { return s.Issuer.Cover(tx, f) })
		}
		pair, err := s.Issuer.Sign(f)
		if err != nil {
			t.Fatalf("sign: %v", err)
		}
		tokens[i] = Token{Key: f.Key, Family: f.ID, Access: pair.Access, Refresh: pair.Refresh, Expires: f.Current.AccessExpiry}
	}
	return tokens
}
