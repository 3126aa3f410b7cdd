// Package near proves that a caller holds a full-access key of a NEAR account: a message signed by a wallet as NEP-413
// (neps/nep-0413.md, revision 1.1.0) says, and the word of an RPC node that the key is one of the account's.
//
// The message is the text of the challenge, the nonce is the challenge's. What keeps a signature for another site out
// is the recipient, which must be one of ours; what keeps out the key that any application may ask a wallet for is that
// only a full-access key counts.
package near

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/calimero-network/mero-go/services/auth/internal/challenge"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// legacyRecipient is what existing login pages sign, and what a login that names no recipient means.
const legacyRecipient = "calimero"

// Provider is the near_wallet provider.
type Provider struct {
	Config config.Near

	// VerifyChallenge returns the claims of a challenge token. Its errors say that the token is no challenge of
	// this server or has expired; clients see their text.
	VerifyChallenge func(token string) (challenge.Claims, error)

	// RPC asks a node of Config.Network, whose word is believed. Without one nobody can log in.
	RPC *jsonrpc.Client
}

// Name implements [provider.Provider].
func (*Provider) Name() string { return "near_wallet" }

// Aliases implements [provider.Provider].
func (*Provider) Aliases() []string { return []string{"near"} }

// Info implements [provider.Provider]. Its Config is what a client needs to ask a wallet for a signature.
func (p *Provider) Info() provider.Info {
	recipients := p.recipients()
	info := provider.Info{
		Type:        "wallet",
		Description: "NEAR wallet: signed message (NEP-413)",
		Configured:  len(recipients) > 0 && p.RPC != nil,
		Config: map[string]any{
			"network":       p.Config.Network,
			"rpc_url":       p.Config.PublicRPCURL(),
			"wallet_url":    p.Config.WalletURL,
			"helper_url":    p.Config.HelperURL,
			"recipients":    recipients,
			"callback_urls": append([]string{}, p.Config.CallbackURLs...),
		},
	}
	switch {
	case len(recipients) == 0:
		info.Reason = "set public_url, or near.recipients"
	case p.RPC == nil:
		info.Reason = "set near.rpc_url"
	}
	return info
}

// recipients are those that a signed message may name, the one to prefer first.
func (p *Provider) recipients() []string {
	list := append([]string{}, p.Config.Recipients...) // a list in JSON, also when empty
	if p.Config.AllowLegacyRecipient && !slices.Contains(list, legacyRecipient) {
		list = append(list, legacyRecipient)
	}
	return list
}

// Authenticate implements [provider.Provider]. provider_data is {wallet_address, message, signature, recipient?,
// callback_url?}: the account, the challenge, the signature in base64. The key is the request's public_key. A
// public_key or nonce in provider_data is not needed and must not contradict.
//
// A provider_data of the wrong shape is [provider.ErrMalformed]; everything that is wrong with the key, the message or
// the signature, and a key without full access, is [provider.ErrRejected]. The challenge is spent before the RPC node is
// asked; without its answer the outcome is [provider.ErrUnavailable].
func (p *Provider) Authenticate(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	if info := p.Info(); !info.Configured {
		return provider.Proof{}, fmt.Errorf("%w: %s", provider.ErrDisabled, info.Reason)
	}
	in, err := decodeLogin(a.Data)
	if err != nil {
		return provider.Proof{}, err
	}
	proof, key, claims, err := p.verify(a.PublicKey, in)
	if err != nil {
		return provider.Proof{}, fmt.Errorf("%w: %w", provider.ErrRejected, err)
	}
	if err := a.Spend(ctx, claims); err != nil {
		return provider.Proof{}, err
	}
	if err := p.checkAccess(ctx, proof.Account, key); err != nil {
		return provider.Proof{}, err
	}
	return proof, nil
}

// verify checks all that can be checked without asking anybody.
func (p *Provider) verify(publicKeyText string, in login) (provider.Proof, publicKey, challenge.Claims, error) {
	fail := func(err error) (provider.Proof, publicKey, challenge.Claims, error) {
		return provider.Proof{}, publicKey{}, challenge.Claims{}, err
	}
	if err := checkAccount(p.Config.Network, in.account); err != nil {
		return fail(fmt.Errorf("wallet_address: %w", err))
	}
	key, err := parseKey(publicKeyText)
	if err != nil {
		return fail(fmt.Errorf("public_key: %w", err))
	}
	if in.publicKey != "" {
		if other, err := parseKey(in.publicKey); err != nil || other != key {
			return fail(errors.New("public_key and provider_data.public_key differ"))
		}
	}
	recipient := in.recipient
	if allowed := p.recipients(); recipient == "" {
		recipient = allowed[0]
		if p.Config.AllowLegacyRecipient {
			recipient = legacyRecipient
		}
	} else if !slices.Contains(allowed, recipient) {
		return fail(fmt.Errorf("recipient must be one of %q", allowed))
	}
	signature, err := decodeSignature(in.signature)
	if err != nil {
		return fail(err)
	}
	claims, err := p.VerifyChallenge(in.message)
	if err != nil {
		return fail(fmt.Errorf("message: %w", err))
	}
	if in.nonce != "" && in.nonce != nonceText(claims.Nonce) {
		return fail(errors.New("nonce is not the challenge's"))
	}
	signed := payload{message: in.message, nonce: claims.Nonce, recipient: recipient}
	if err := p.verifySignature(key, signature, signed, in.callback); err != nil {
		return fail(err)
	}
	proof := p.proofOf(in.account, key.String())
	proof.Renewal = renewal{p.Config.Network, in.account, key}.String()
	return proof, key, claims, nil
}

// verifySignature accepts a payload without a callback URL first, and then one with the URL that the client names:
// wallets in a browser sign it, others do not, and some clients send it in both cases.
func (p *Provider) verifySignature(key publicKey, sig signature, signed payload, callback string) error {
	ok, err := signed.signedBy(key, sig)
	if err != nil || ok {
		return err
	}
	if callback != "" {
		if !slices.Contains(p.Config.CallbackURLs, callback) {
			return errors.New("the signature is not one of this challenge without a callback URL, and callback_url is not allowed here")
		}
		signed.callback = &callback
		if ok, err := signed.signedBy(key, sig); err != nil || ok {
			return err
		}
	}
	return errors.New("the signature is not one of this challenge and recipient by public_key (NEP-413)")
}

// Enroll implements [provider.Provider]. provider_data is {account_id} or {wallet_address}. The public key of the
// request is kept for people to see and decides nothing: any full-access key of the account will log in.
func (p *Provider) Enroll(_ context.Context, a provider.Attempt) (provider.Proof, error) {
	var account, wallet string
	if err := provider.DecodeStrings(a.Data, map[string]*string{"account_id": &account, "wallet_address": &wallet}); err != nil {
		return provider.Proof{}, err
	}
	if account != "" && wallet != "" && account != wallet {
		return provider.Proof{}, fmt.Errorf("%w: account_id and wallet_address differ", provider.ErrMalformed)
	}
	account = cmp.Or(account, wallet)
	if err := checkAccount(p.Config.Network, account); err != nil {
		return provider.Proof{}, fmt.Errorf("%w: account_id (or wallet_address): %w", provider.ErrMalformed, err)
	}
	shown := account
	if key, err := parseKey(a.PublicKey); err == nil {
		shown = key.String()
	}
	return p.proofOf(account, shown), nil
}

// proofOf binds the network into the key id: the same account name is somebody else's on another network.
func (p *Provider) proofOf(account, shown string) provider.Proof {
	sum := sha256.Sum256([]byte("near:" + p.Config.Network + ":" + account))
	return provider.Proof{KeyID: hex.EncodeToString(sum[:]), PublicKey: shown, Account: account}
}

// login is the provider_data of an attempt.
type login struct{ account, message, signature, recipient, callback, publicKey, nonce string }

func decodeLogin(data json.RawMessage) (login, error) {
	var in login
	members := map[string]*string{
		"wallet_address": &in.account, "message": &in.message, "signature": &in.signature, "recipient": &in.recipient,
		"callback_url": &in.callback, "public_key": &in.publicKey, "nonce": &in.nonce,
	}
	if err := provider.DecodeStrings(data, members); err != nil {
		return login{}, err
	}
	for _, name := range []string{"wallet_address", "message", "signature"} {
		if *members[name] == "" {
			return login{}, fmt.Errorf("%w: %s is required", provider.ErrMalformed, name)
		}
	}
	return in, nil
}
