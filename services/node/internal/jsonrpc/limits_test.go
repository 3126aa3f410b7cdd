package jsonrpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/node/internal/quota"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// withName is a handler that knows the name "a" of an identity of the context EMPTY.
func withName(t testing.TB) *jsonrpc.Handler {
	t.Helper()
	h := handler(t)
	if err := h.Aliases.Store.Update(t.Context(), func(tx *store.Tx) error {
		return tx.AddAlias(store.Alias{Kind: store.IdentityAlias, Scope: empty, Name: "a", Target: foreign})
	}); err != nil {
		t.Fatal(err)
	}
	return h
}

// A short name stands for 44 bytes, so 10 MiB of names would be 150 MiB of arguments, for many callers at a time.
func TestExecute_SubstitutionCannotMultiplyArguments(t *testing.T) {
	h := withName(t)
	ask := func(n int) string {
		return execute(`{"contextId":"EMPTY","method":"get","argsJson":"` + strings.Repeat("{a}", n) + `","substitute":["a"]}`)
	}
	const names = 3_400_000
	text := ask(names)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, _ := handle(t, h, "context", text)
	runtime.ReadMemStats(&after)
	if want := badParams + said("argsJson is larger than 10 MiB with its names substituted"); !same(t, got, want) {
		t.Errorf("%.300s, want %s", got, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 100<<20 {
		t.Errorf("it took %d MiB to find that out", used>>20)
	}
	// At the limit it is a call like others: 44 bytes for a name.
	for n, refused := range map[int]bool{jsonrpc.MaxArgs/44 - 1: false, jsonrpc.MaxArgs/43 + 1: true} {
		if got, _ := handle(t, h, "context", ask(n)); strings.Contains(got, "larger than 10 MiB") != refused {
			t.Errorf("%d names: %.300s", n, got)
		}
	}
}

// What arguments grow to counts for the memory that requests share, and is given back.
func TestExecute_SubstitutedArgumentsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := withName(t)
		h.Memory = quota.New(1<<20, 1<<20, time.Second)
		text := execute(`{"contextId":"EMPTY","method":"get","argsJson":"` + strings.Repeat("{a}", 20_000) + `","substitute":["a"]}`)
		held, err := h.Memory.Take(t.Context(), "other", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := handle(t, h, "context", text); !strings.Contains(got, "too many large requests") {
			t.Errorf("without memory: %.300s", got)
		}
		held()
		if got, _ := handle(t, h, "context", text); !strings.Contains(got, "Uninitialized") {
			t.Errorf("with memory: %.300s", got)
		}
		again, err := h.Memory.Take(t.Context(), "other", 1<<20)
		if err != nil {
			t.Fatalf("something was not given back: %v", err)
		}
		again()
	})
}

func TestReserve_OneKeyCannotTakeTheMemoryOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(t)
		as := func(key string) context.Context { return caller.With(t.Context(), caller.Caller{Key: key}) }
		reserve := func(key string, size int64) (func(), error) { return h.Reserve(as(key), size) }
		var given []func()
		for {
			give, err := reserve("attacker", 10<<20)
			if err != nil {
				if fault.CodeOf(err) != fault.Unavailable || fault.RetryAfterOf(err) == 0 || !errors.Is(err, quota.ErrBusy) {
					t.Errorf("got %v, want a refusal with a time to try again", err)
				}
				break
			}
			given = append(given, give)
		}
		if len(given) != 3 {
			t.Errorf("one key holds %d times 10 MiB", len(given))
		}
		for key, size := range map[string]int64{"innocent": 15 << 20, "attacker": jsonrpc.FreeBytes} {
			give, err := reserve(key, size)
			if err != nil {
				t.Errorf("%s, %d bytes: %v", key, size, err)
				continue
			}
			give()
		}
		for _, give := range given {
			give()
		}
	})
}

// lease is a token that is revoked once it was asked about a number of times.
type lease struct{ good int }

func (l *lease) Check(context.Context) error {
	if l.good--; l.good < 0 {
		return caller.ErrRevoked
	}
	return nil
}

// Fifty slow calls in one body are no way to go on for half an hour after a revocation.
func TestHandle_BatchEndsWithItsCredential(t *testing.T) {
	h := handler(t)
	one := execute(`{"contextId":"UNKNOWN","method":"get"}`)
	batch := "[" + one + "," + one + "," + strings.Replace(one, `"id":1,`, "", 1) + "," + one + "]"
	now := time.Unix(4_000_000_000, 0) // the calls themselves go by the real time
	base := caller.Caller{Key: "k", Permissions: permission.NewSet([]string{"context"})}
	for name, tt := range map[string]struct {
		change func(*caller.Caller)
		served int
	}{
		"good":                  {func(*caller.Caller) {}, 3},
		"revoked":               {func(c *caller.Caller) { c.Token = &lease{2} }, 1}, // once for the call itself, once before the second
		"expired":               {func(c *caller.Caller) { c.Ends = now.Add(150 * time.Second) }, 2},
		"no longer vouched for": {func(c *caller.Caller) { c.Vouched = now.Add(90 * time.Second) }, 2},
	} {
		at := now
		h.Now = func() time.Time { at = at.Add(time.Minute); return at } // each request of the batch takes a minute
		c := base
		tt.change(&c)
		answer, class := h.Handle(caller.With(t.Context(), c), []byte(batch))
		var list []struct {
			Error struct {
				Type string
				Data json.RawMessage
			}
		}
		if err := json.Unmarshal(answer, &list); err != nil || len(list) != 3 || class != jsonrpc.Answered {
			t.Fatalf("%s: %s, %v", name, answer, err)
		}
		served := 0
		for _, e := range list {
			switch e.Error.Type {
			case "ContextNotFound":
				served++
			case "Unauthorized":
			default:
				t.Errorf("%s: %+v", name, e)
			}
		}
		if served != tt.served {
			t.Errorf("%s: %d were served, want %d: %s", name, served, tt.served, answer)
		}
	}
}

func FuzzMembers(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { "a" : 1 , "b":[{"c":"}"}] } `, `{"a\u0062":"\\\"","x":-1.5e+3,"y":true}`, `{"":{}}`, `[]`, `1`, `""`, `{"a":1,"a":2}`, `{"a":"{\"b\":[\\\"]}"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		got, err := jsonrpc.Members(text)
		var want map[string]json.RawMessage
		if json.Unmarshal(text, &want) != nil || want == nil {
			if err == nil {
				t.Fatalf("%q is no object and reads as %q", text, got)
			}
			return
		}
		if err != nil {
			if err.Error() != "a member occurs twice" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q reads as %q, want %q", text, got, want)
		}
	})
}
