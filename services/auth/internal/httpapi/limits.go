package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/auth/internal/audit"
	"github.com/calimero-network/mero-go/services/auth/internal/limit"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
)

// limited turns the refusal of a limit into the answer.
func limited(err error) error {
	if exceeded, is := errors.AsType[*limit.Exceeded](err); is {
		return &fault.Error{Code: fault.RateLimited, Message: exceeded.Error(), RetryAfter: exceeded.RetryAfter}
	}
	return err
}

// attempt logs in within the limits of the client's address and of the account.
func (s *server) attempt(r *http.Request, request login.Request) (login.Pair, error) {
	account := s.account(request)
	delay, err := s.Limits.Attempt(request.Peer, account)
	if err == nil {
		err = s.Limits.Wait(r.Context(), delay)
	}
	if err != nil {
		return login.Pair{}, limited(err)
	}
	pair, err := s.Login.Token(r.Context(), request)
	if err == nil {
		s.Limits.Succeeded(request.Peer, account)
	}
	return pair, err
}

// refused notes a login that was refused, for the audit. What failed for reasons of our own is in the log.
func (s *server) refused(peer, account string, err error) {
	code := fault.CodeOf(err)
	if err == nil || code == fault.Internal || code == fault.Unavailable {
		return
	}
	s.Refusals.Add(audit.Refusal{Peer: peer, Account: account, Reason: reason(err)}, s.Now())
}

// account names what a login is tried for, before anything of it is verified: the provider and the name that the
// client gives.
func (s *server) account(request login.Request) string {
	var named struct {
		Username any `json:"username"`
		Wallet   any `json:"wallet_address"`
	}
	_ = json.Unmarshal(request.ProviderData, &named) // the provider refuses what is malformed
	for _, candidate := range []any{named.Username, named.Wallet} {
		if name, is := candidate.(string); is && name != "" {
			return s.providerName(request.AuthMethod) + ":" + name
		}
	}
	return s.providerName(request.AuthMethod) + ":" + request.PublicKey
}

// fails reports whether err says that the client did wrong, and not we.
func fails(err error) bool {
	return err != nil && statusOf[fault.CodeOf(err)] < http.StatusInternalServerError
}
