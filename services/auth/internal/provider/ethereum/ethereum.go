// Package ethereum proves that a caller holds the key of an Ethereum account: Sign-In with Ethereum (EIP-4361),
// signed with personal_sign (EIP-191), or by the word of the contract that the account is (EIP-1271).
//
// The client composes the message from what GET /auth/providers and GET /auth/challenge publish. What keeps a
// signature made for another site, another time or another purpose out is that every line is read strictly and
// compared with what this server would have written; recovering an address from a signature proves nothing by
// itself.
package ethereum

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// skew is how far the clocks of clients may be off.
const skew = 60 * time.Second

// mainnet is the chain that is allowed when the configuration names none.
const mainnet = 1

// Provider is the eth_wallet provider.
type Provider struct {
	Config    config.Eth
	PublicURL string // what Config.Domain and Config.URI default to; "" when unknown

	// VerifyChallenge returns the claims of a challenge token. Its errors say that the token is no challenge of
	// this server or has expired; clients see their text.
	VerifyChallenge func(token string) (challenge.Claims, error)

	// RPC asks a node about accounts that are contracts; its word is believed. Nil refuses them.
	RPC *jsonrpc.Client

	Now func() time.Time
}

// Name implements [provider.Provider].
func (*Provider) Name() string { return "eth_wallet" }

// Aliases implements [provider.Provider].
func (*Provider) Aliases() []string { return []string{"ethereum"} }

// Info implements [provider.Provider]. Its Config is what a client needs to compose a message.
func (p *Provider) Info() provider.Info {
	domain, uri, reason := p.site()
	return provider.Info{
		Type:        "wallet",
		Description: "Ethereum wallet: Sign-In with Ethereum (EIP-4361)",
		Configured:  reason == "",
		Reason:      reason,
		Config: map[string]any{
			"domain":    domain,
			"uri":       uri,
			"statement": p.Config.Statement,
			"chain_ids": p.chainIDs(),
		},
	}
}

// Authenticate implements [provider.Provider]. provider_data is {wallet_address, message, signature, challenge}.
// The request's public_key plays no part: the message and its signature name the account.
//
// A provider_data of the wrong shape is [provider.ErrMalformed]; everything that is wrong with the message or
// the signature is [provider.ErrRejected], with a text that names the line and what it has to be. A signature that is
// not one of the account's own key is put to the account's contract, when there is an RPC node to ask and the message
// names the chain, after the challenge was spent; without the node's answer the outcome is [provider.ErrUnavailable].
func (p *Provider) Authenticate(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	domain, uri, reason := p.site()
	if reason != "" {
		return provider.Proof{}, fmt.Errorf("%w: %s", provider.ErrDisabled, reason)
	}
	in, err := p.decodeLogin(a.Data)
	if err != nil {
		return provider.Proof{}, err
	}
	account, err := parseAddress(in.address)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: wallet_address: %w", provider.ErrRejected, err)
	}
	var m message
	personal := p.Config.AllowPersonalSign && in.message == in.challenge
	if !personal {
		if m, err = parseMessage(in.message); err != nil {
			return provider.Proof{}, fmt.Errorf("%w: EIP-4361: %w", provider.ErrRejected, err)
		}
	}
	claims, err := p.VerifyChallenge(in.challenge)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: challenge: %w", provider.ErrRejected, err)
	}
	if !personal {
		e := expected{domain, uri, account, p.chainIDs(), claims}
		if err := e.check(m, p.Now()); err != nil {
			return provider.Proof{}, fmt.Errorf("%w: EIP-4361: %w", provider.ErrRejected, err)
		}
	}
	proof := proofOf(account)
	err = verifySignature(account, in.message, in.signature)
	if err == nil {
		proof.Challenge = &claims
		return proof, nil
	}
	signature, readable := contractSignature(in.signature)
	if p.RPC == nil || personal || !readable {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrRejected, err)
	}
	if err := a.Spend(ctx, claims); err != nil {
		return provider.Proof{}, err
	}
	if err := p.verifyContract(ctx, account, m.chainID, personalHash([]byte(in.message)), signature); err != nil {
		return provider.Proof{}, err
	}
	return proof, nil
}

// Enroll implements [provider.Provider]. provider_data is {wallet_address} or {account_id}.
func (*Provider) Enroll(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	var walletAddress, accountID string
	members := map[string]*string{"wallet_address": &walletAddress, "account_id": &accountID}
	if err := provider.DecodeStrings(a.Data, members); err != nil {
		return provider.Proof{}, err
	}
	account, err := parseAddress(cmp.Or(walletAddress, accountID))
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: wallet_address (or account_id): %w", provider.ErrMalformed, err)
	}
	if walletAddress != "" && accountID != "" {
		if other, err := parseAddress(accountID); err != nil || other != account {
			return provider.Proof{}, fmt.Errorf("%w: wallet_address and account_id differ", provider.ErrMalformed)
		}
	}
	return proofOf(account), nil
}

func proofOf(account address) provider.Proof {
	return provider.Proof{KeyID: account.keyID(), PublicKey: account.checksummed(), Account: account.checksummed()}
}

// site returns the domain and the URI that messages must name, or the reason why they are not known.
func (p *Provider) site() (domain, uri, reason string) {
	domain, uri = p.Config.Domain, p.Config.URI
	if public, err := url.Parse(p.PublicURL); err == nil && p.PublicURL != "" {
		domain = cmp.Or(domain, public.Host)
		uri = cmp.Or(uri, strings.TrimRight(p.PublicURL, "/")+"/auth/login")
	}
	switch {
	case domain == "" || uri == "":
		reason = "set public_url, or eth.domain and eth.uri"
	case !isAuthority(domain):
		reason = "eth.domain must be a host, or host:port"
	case !isURI(uri):
		reason = "eth.uri must be an absolute URI"
	case p.Config.Statement != "" && !isStatement(p.Config.Statement):
		reason = "eth.statement has a character that EIP-4361 does not allow"
	}
	return domain, uri, reason
}

func (p *Provider) chainIDs() []uint64 {
	if len(p.Config.ChainIDs) == 0 {
		return []uint64{mainnet}
	}
	return p.Config.ChainIDs
}

// login is the provider_data of an attempt.
type login struct{ address, message, signature, challenge string }

func (p *Provider) decodeLogin(data json.RawMessage) (login, error) {
	var in login
	members := map[string]*string{
		"wallet_address": &in.address, "message": &in.message, "signature": &in.signature, "challenge": &in.challenge,
	}
	if err := provider.DecodeStrings(data, members); err != nil {
		return login{}, err
	}
	// Clients that sign the bare challenge need not send it twice.
	if p.Config.AllowPersonalSign && in.challenge == "" {
		in.challenge = in.message
	}
	for _, name := range []string{"wallet_address", "message", "signature", "challenge"} {
		if *members[name] == "" {
			return login{}, fmt.Errorf("%w: %s is required", provider.ErrMalformed, name)
		}
	}
	return in, nil
}

// expected is what a message has to say.
type expected struct {
	domain, uri string
	account     address
	chainIDs    []uint64
	challenge   challenge.Claims
}

// check compares m with what is expected. The statement, the request id and the resources are free: they grant
// nothing. Expiration Time is exact and Not Before has the clock tolerance, as exp and nbf of tokens.
func (e expected) check(m message, now time.Time) error {
	scheme, _, _ := strings.Cut(e.uri, ":")
	earliest, latest := e.challenge.IssuedAt.Add(-skew), e.challenge.Expires.Add(skew)
	switch {
	case m.domain != e.domain:
		return fmt.Errorf("the first line must be %q", e.domain+preamble)
	case m.scheme != "" && m.scheme != scheme:
		return fmt.Errorf("the first line must begin with %q, or without a scheme", scheme+"://")
	case m.address != e.account:
		return errors.New("line 2 must be the same address as wallet_address")
	case m.uri != e.uri:
		return mustBe(labelURI, "%s", e.uri)
	case !slices.Contains(e.chainIDs, m.chainID):
		return mustBe(labelChainID, "one of %d", e.chainIDs)
	case m.nonce != e.challenge.ID:
		return mustBe(labelNonce, "the challenge's message_nonce, %s", e.challenge.ID)
	case m.issuedAt.Before(earliest) || m.issuedAt.After(latest):
		return mustBe(labelIssuedAt, "within the challenge's life, %s to %s", stamp(earliest), stamp(latest))
	}
	return checkPeriod(m, now)
}

func checkPeriod(m message, now time.Time) error {
	switch expires := m.expires.text != ""; {
	case expires && !m.expires.After(now):
		return mustBe(labelExpires, "later than the server's time, %s", stamp(now))
	case expires && !m.expires.After(m.issuedAt.Time):
		return mustBe(labelExpires, "later than Issued At")
	case m.notBefore.text != "" && m.notBefore.After(now.Add(skew)):
		return mustBe(labelNotBefore, "no later than the server's time, %s", stamp(now))
	case expires && m.notBefore.text != "" && !m.expires.After(m.notBefore.Time):
		return mustBe(labelExpires, "later than Not Before")
	}
	return nil
}

func mustBe(label, format string, args ...any) error {
	return fmt.Errorf("the line %q must be "+format, append([]any{strings.TrimRight(label, ": ")}, args...)...)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
