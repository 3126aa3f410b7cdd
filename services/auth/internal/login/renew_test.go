package login_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/identity"
	"github.com/calimero-network/mero-go/services/auth/internal/login"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
)

// renewing is the wallet whose proofs can cease to hold.
type renewing struct {
	wallet
	answer func(ctx context.Context) error

	mu    sync.Mutex
	asked []string
}

func (r *renewing) Authenticate(ctx context.Context, a provider.Attempt) (provider.Proof, error) {
	proof, err := r.wallet.Authenticate(ctx, a)
	if err == nil {
		proof.Renewal = "the device of " + proof.Account
	}
	return proof, err
}

func (r *renewing) Renew(ctx context.Context, renewal string) error {
	r.mu.Lock()
	r.asked = append(r.asked, renewal)
	r.mu.Unlock()
	return r.answer(ctx)
}

// questions returns what was asked so far, and forgets it.
func (r *renewing) questions() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := strings.Join(r.asked, ", ")
	r.asked = nil
	return asked
}

func withRenewals(f *fixture) *renewing {
	r := &renewing{wallet: wallet{f.challenges}, answer: func(context.Context) error { return nil }}
	f.Providers[0] = r
	return r
}

var unproved = refusal{fault.Unauthenticated, identity.TokenRevoked, "proved the identity at the login"}

// What is asked about once, outside every transaction: before a rotation, and never for what is refused or repeated.
func TestRenew_OnlyBeforeARotation(t *testing.T) {
	onEachBackend(t, func(t *testing.T, f *fixture) {
		r := withRenewals(f)
		r.answer = func(ctx context.Context) error { // a transaction inside another would hang or fail
			return f.Store.Update(ctx, func(*store.Tx) error { return nil })
		}
		first := f.session(t)
		f.refused(t, "too early", first, refusal{fault.Unauthenticated, "", "still valid"})
		if asked := r.questions(); asked != "" {
			t.Errorf("asked %q by a login and a refresh that is refused", asked)
		}
		f.clock.advance(accessLife)
		second := f.refresh(t, first)
		if asked := r.questions(); asked != "the device of alice" {
			t.Errorf("asked %q", asked)
		}
		if f.refresh(t, first) != second || r.questions() != "" {
			t.Error("the repeat of a lost answer was asked about, or differs")
		}
		f.clock.advance(accessLife)
		f.refused(t, "reuse", first, refusal{fault.Unauthenticated, identity.TokenReuse, ""})
		f.refused(t, "after the reuse", second, ended)
		if asked := r.questions(); asked != "" {
			t.Errorf("asked %q about a session that is over", asked)
		}
	})
}

func TestRenew_Outcomes(t *testing.T) {
	denial := fmt.Errorf("%w: the device was sold", provider.ErrRejected)
	outage := fmt.Errorf("%w: no answer", provider.ErrUnavailable)
	for name, tt := range map[string]struct {
		answer  error
		want    *refusal // nil: the session goes on
		outcome login.Renewal
	}{
		"yes":          {nil, nil, login.Confirmed},
		"no":           {denial, &unproved, login.Denied},
		"an outage":    {outage, nil, login.Unanswered},
		"a bug":        {errors.New("the hard disk of 10.0.0.7 is on fire"), nil, login.Unanswered},
		"not set up":   {fmt.Errorf("%w: set the address", provider.ErrDisabled), nil, login.Unanswered},
		"a deadline":   {context.DeadlineExceeded, nil, login.Unanswered},
		"what is lost": {fmt.Errorf("%w: odd", provider.ErrMalformed), nil, login.Unanswered},
	} {
		f := inMemory(t)
		r := withRenewals(f)
		r.answer = func(context.Context) error { return tt.answer }
		var counted []login.Renewal
		f.Renewed = func(providerName string, outcome login.Renewal) {
			if counted = append(counted, outcome); providerName != "test_wallet" {
				t.Errorf("%s: counted for %q", name, providerName)
			}
		}
		p, other := f.session(t), f.session(t)
		f.clock.advance(accessLife)
		if tt.want == nil {
			f.refresh(t, p)
		} else {
			f.refused(t, name, p, *tt.want)
			f.refused(t, name+", again", p, ended)
		}
		if len(counted) != 1 || counted[0] != tt.outcome {
			t.Errorf("%s: counted %q, want %q", name, counted, tt.outcome)
		}
		if warned := strings.Contains(f.log.String(), "without the word of its provider"); warned != (tt.outcome == login.Unanswered) {
			t.Errorf("%s: the log warns: %t", name, warned)
		}
		// Each session is judged by itself.
		r.answer = func(context.Context) error { return nil }
		f.refresh(t, other)
	}
}

// A client that leaves while the provider is asked has neither rotated the session nor ended it.
func TestRenew_ClientThatLeaves(t *testing.T) {
	f := inMemory(t)
	r := withRenewals(f)
	p := f.session(t)
	f.clock.advance(accessLife)
	ctx, leave := context.WithCancel(t.Context())
	r.answer = func(ctx context.Context) error {
		leave()
		return ctx.Err()
	}
	if pair, err := f.Refresh(ctx, p.Access, p.Refresh, host); !errors.Is(err, context.Canceled) || pair != (login.Pair{}) {
		t.Errorf("Refresh = %+v, %v", pair, err)
	}
	r.answer = func(context.Context) error { return nil }
	f.refresh(t, p)
}

// A revocation while the provider is asked holds, whatever it says.
func TestRenew_RevokedMeanwhile(t *testing.T) {
	for name, answer := range map[string]error{"yes": nil, "an outage": provider.ErrUnavailable} {
		f := inMemory(t)
		r := withRenewals(f)
		p := f.session(t)
		f.clock.advance(accessLife)
		r.answer = func(context.Context) error {
			f.update(t, func(tx *store.Tx) error { return tx.RevokeFamily(read(t, p.Refresh).Fam, f.clock.now()) })
			return answer
		}
		f.refused(t, name, p, ended)
	}
}

// Without the provider, or with one that has nothing to ask, a session goes on as sessions do.
func TestRenew_NobodyToAsk(t *testing.T) {
	f := inMemory(t)
	r := withRenewals(f)
	r.answer = func(context.Context) error { return provider.ErrRejected }
	p := f.session(t)
	f.Providers[0] = wallet{f.challenges}
	f.clock.advance(accessLife)
	p = f.refresh(t, p)
	f.Providers = f.Providers[1:]
	f.clock.advance(accessLife)
	f.refresh(t, p)
	if asked := r.questions(); asked != "" {
		t.Errorf("asked %q", asked)
	}
}

// Of many refreshes that the provider denies at once each is refused, and the audit has the end of the session.
func TestRenew_ParallelDenials(t *testing.T) {
	f := inMemory(t)
	r := withRenewals(f)
	r.answer = func(context.Context) error { return provider.ErrRejected }
	p := f.session(t)
	f.clock.advance(accessLife)
	before := f.count(t, "audit")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			pair, err := f.Refresh(t.Context(), p.Access, p.Refresh, host)
			if fault.ReasonOf(err) != identity.TokenRevoked || pair != (login.Pair{}) {
				t.Errorf("Refresh = %+v, %v", pair, err)
			}
		})
	}
	wg.Wait()
	if n := f.count(t, "audit") - before; n != 1 {
		t.Errorf("%d records of the end of one session", n)
	}
}
