package jsonrpc_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/services/node/internal/alias"
	"github.com/calimero-network/mero-go/services/node/internal/caller"
	"github.com/calimero-network/mero-go/services/node/internal/contexts"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/node/internal/runtime"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// handler returns a handler over a store with an uninitialized context and an alias of it; calls end there before
// they need an application.
func handler(t testing.TB) *jsonrpc.Handler {
	t.Helper()
	db, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	engine, err := runtime.New(t.Context(), runtime.Options{Rand: rand.Reader, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	m, err := contexts.New(t.Context(), contexts.Options{Store: db, Engine: engine, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		if err := errors.Join(engine.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := db.Update(t.Context(), func(tx *store.Tx) error {
		if err := tx.PutContext(store.Context{ID: empty}); err != nil {
			return err
		}
		return errors.Join(tx.AddAlias(store.Alias{Kind: store.ContextAlias, Name: "empty", Target: empty}),
			tx.AddAlias(store.Alias{Kind: store.IdentityAlias, Scope: empty, Name: "nobody"}),
			tx.AddAlias(store.Alias{Kind: store.IdentityAlias, Scope: empty, Name: "empty", Target: unknown}))
	}); err != nil {
		t.Fatal(err)
	}
	return &jsonrpc.Handler{Contexts: m, Aliases: &alias.Service{Store: db}, Log: log}
}

var (
	empty   = id.ID{1}
	unknown = id.ID{2}
	foreign = id.ID{3}
	names   = strings.NewReplacer("EMPTY", empty.String(), "UNKNOWN", unknown.String(), "FOREIGN", foreign.String(), "ZERO", id.ID{}.String())
)

func handle(t testing.TB, h *jsonrpc.Handler, permissions, text string) (string, jsonrpc.Class) {
	t.Helper()
	set := permission.NewSet(permission.Split(names.Replace(permissions)))
	answer, class := h.Handle(caller.With(t.Context(), caller.Caller{Key: "k", Permissions: set}), []byte(text))
	return string(answer), class
}

func same(t *testing.T, got, want string) bool {
	t.Helper()
	if got == want {
		return true
	}
	var a, b any
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatalf("the wanted answer is not JSON: %v: %s", err, want)
	}
	return json.Unmarshal([]byte(got), &a) == nil && reflect.DeepEqual(a, b)
}

const (
	noRequest = `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"type":"ParseError",`
	badParams = `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"type":"ParseError",`
)

func said(text string) string {
	quoted, _ := json.Marshal(text)
	return `"message":` + string(quoted) + `,"data":` + string(quoted) + `}}`
}

func execute(params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"execute","params":` + names.Replace(params) + `}`
}

// node check D36, D37
func TestHandle_Protocol(t *testing.T) {
	h := handler(t)
	notFound := `{"code":-32001,"message":"context not found","type":"ContextNotFound","data":"context not found"}`
	call := names.Replace(`"jsonrpc":"2.0","method":"sync_status","params":{"contextId":"UNKNOWN"}`)
	answer := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"error":` + notFound + `}` }
	fifty := strings.TrimSuffix(strings.Repeat("{"+call+`,"id":1},`, 51), ",")
	for name, tt := range map[string]struct {
		text, want string
		class      jsonrpc.Class
	}{
		"no JSON":              {`{"jsonrpc"`, strings.Replace(noRequest, "-32600", "-32700", 1) + said("the body is not JSON"), jsonrpc.Malformed},
		"nothing":              {``, strings.Replace(noRequest, "-32600", "-32700", 1) + said("the body is not JSON"), jsonrpc.Malformed},
		"not UTF-8":            {"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}", strings.Replace(noRequest, "-32600", "-32700", 1) + said("the body is not JSON"), jsonrpc.Malformed},
		"two values":           {`{} {}`, strings.Replace(noRequest, "-32600", "-32700", 1) + said("the body is not JSON"), jsonrpc.Malformed},
		"number":               {`1`, noRequest + said("not an object"), jsonrpc.Invalid},
		"no version":           {`{"id":1,"method":"execute"}`, strings.Replace(noRequest, "null", "1", 1) + said(`member jsonrpc is not "2.0"`), jsonrpc.Invalid},
		"version as a number":  {`{"jsonrpc":2.0,"id":1,"method":"execute"}`, strings.Replace(noRequest, "null", "1", 1) + said(`member jsonrpc is not "2.0"`), jsonrpc.Invalid},
		"no method":            {`{"jsonrpc":"2.0","id":1}`, strings.Replace(noRequest, "null", "1", 1) + said("member method is missing or no text"), jsonrpc.Invalid},
		"method as a number":   {`{"jsonrpc":"2.0","id":1,"method":1}`, strings.Replace(noRequest, "null", "1", 1) + said("member method is missing or no text"), jsonrpc.Invalid},
		"id as an object":      {`{"id":{},` + call + `}`, noRequest + said("the id is neither text nor a whole number of 64 bits nor null"), jsonrpc.Invalid},
		"id twice":             {`{"id":1,"id":2,` + call + `}`, noRequest + said("a member occurs twice"), jsonrpc.Invalid},
		"method twice":         {`{"id":1,"method":"execute",` + call + `}`, noRequest + said("a member occurs twice"), jsonrpc.Invalid},
		"other case":           {`{"jsonrpc":"2.0","id":1,"Method":"sync_status"}`, strings.Replace(noRequest, "null", "1", 1) + said("member method is missing or no text"), jsonrpc.Invalid},
		"unknown method":       {`{"jsonrpc":"2.0","id":1,"method":"mutate"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"type":"ParseError",` + said(`unknown method "mutate"`), jsonrpc.Answered},
		"id a number":          {`{"id":7,` + call + `}`, answer("7"), jsonrpc.Answered},
		"id a long number":     {`{"id":18446744073709551615,` + call + `}`, answer("18446744073709551615"), jsonrpc.Answered},
		"id a text":            {`{"id":"a<b\u00e9",` + call + `}`, answer(`"a<bé"`), jsonrpc.Answered},
		"id null":              {`{"id":null,` + call + `}`, answer("null"), jsonrpc.Answered},
		"unknown members":      {`{"id":1,"future":true,` + call + `}`, answer("1"), jsonrpc.Answered},
		"notification":         {`{` + call + `}`, ``, jsonrpc.Answered},
		"unknown notification": {`{"jsonrpc":"2.0","method":"mutate"}`, ``, jsonrpc.Answered},
		"empty batch":          {`[]`, noRequest + said("the batch is empty"), jsonrpc.Answered},
		"batch":                {` [{"id":1,` + call + `},{"id":"b",` + call + `},{"id":null,` + call + `}]`, `[` + answer("1") + `,` + answer(`"b"`) + `,` + answer("null") + `]`, jsonrpc.Answered},
		"mixed batch":          {`[1,{` + call + `},{"id":2,` + call + `}]`, `[` + noRequest + said("not an object") + `,` + answer("2") + `]`, jsonrpc.Answered},
		"batch of batches":     {`[[{"id":1,` + call + `}]]`, `[` + noRequest + said("not an object") + `]`, jsonrpc.Answered},
		"batch, all silent":    {`[{` + call + `},{` + call + `}]`, ``, jsonrpc.Answered},
		"batch too large":      {`[` + fifty + `]`, noRequest + said("a batch holds at most 50 requests"), jsonrpc.Answered},
	} {
		got, class := handle(t, h, "context", tt.text)
		if !same(t, got, tt.want) || class != tt.class {
			t.Errorf("%s: %d %s, want %d %s", name, class, got, tt.class, tt.want)
		}
	}
	// Clients know ids by whole numbers of 64 bits; others would come back as something else in some of them.
	for _, id := range []string{"1.5", "-1", "1e2", "1.0", "-0", "18446744073709551616"} {
		if got, class := handle(t, h, "context", `{"id":`+id+`,`+call+`}`); !same(t, got, noRequest+said("the id is neither text nor a whole number of 64 bits nor null")) || class != jsonrpc.Invalid {
			t.Errorf("id %s: %d %s", id, class, got)
		}
	}
}

func TestExecute_Params(t *testing.T) {
	h := handler(t)
	uninitialized := `{"jsonrpc":"2.0","id":1,"error":{"code":-32003,"message":"the context has no state yet","type":"Uninitialized","data":"uninitialized"}}`
	many := `["a"` + strings.Repeat(`,"a"`, 100) + `]`
	for name, tt := range map[string]struct{ params, want string }{
		"none":                  {`null`, badParams + said("params: not an object")},
		"by position":           {`["EMPTY","get"]`, badParams + said("params: not an object")},
		"all wrong":             {`{"contextId":1,"substitute":7}`, badParams + said("Validation errors: method is missing; contextId must be a text that is not empty; substitute must be a list of texts")},
		"empty method":          {`{"contextId":"EMPTY","method":""}`, badParams + said("method must be a text that is not empty")},
		"long method":           {`{"contextId":"EMPTY","method":"` + strings.Repeat("m", 257) + `"}`, badParams + said("method is longer than 256 characters")},
		"many substitutes":      {`{"contextId":"EMPTY","method":"get","substitute":` + many + `}`, badParams + said("substitute holds more than 100 names")},
		"context is no id":      {`{"contextId":"x","method":"get"}`, badParams + said(`contextId: "x" is neither an id nor an alias that the caller may use`)},
		"context is strange":    {`{"contextId":"a/../b","method":"get"}`, badParams + said(`contextId: "a/../b" is neither an id nor an alias that the caller may use`)},
		"executor is no id":     {`{"contextId":"EMPTY","method":"get","executorPublicKey":"x"}`, badParams + said(`executorPublicKey: "x" is neither an id nor an alias that the caller may use`)},
		"unknown substitute":    {`{"contextId":"EMPTY","method":"get","substitute":["ann"]}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32005,"message":"alias \"ann\" cannot be resolved","type":"AliasResolutionFailed","data":{"alias":"ann"}}}`},
		"member twice":          {`{"contextId":"EMPTY","contextId":"UNKNOWN","method":"get"}`, badParams + said("params: a member occurs twice")},
		"no state":              {`{"contextId":"EMPTY","method":"get","argsJson":null}`, uninitialized},
		"alias":                 {`{"contextId":"empty","method":"get","argsJson":[1]}`, uninitialized},
		"executor null":         {`{"contextId":"EMPTY","method":"get","executorPublicKey":null,"substitute":null}`, uninitialized},
		"the zero context":      {`{"contextId":"ZERO","method":"get"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"context not found","type":"ContextNotFound","data":"context not found"}}`},
		"unknown context":       {`{"contextId":"UNKNOWN","method":"get"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"context not found","type":"ContextNotFound","data":"context not found"}}`},
		"init again":            {`{"contextId":"EMPTY","method":"init"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"type":"FunctionCallError",` + said(`method "init" not found`)},
		"a method of the nodes": {`{"contextId":"EMPTY","method":"__calimero_sync_next"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"type":"FunctionCallError",` + said(`method "__calimero_sync_next" not found`)},
	} {
		if got, _ := handle(t, h, "context", execute(tt.params)); !same(t, got, names.Replace(tt.want)) {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// Who may not call a context learns nothing of it, not even whether it exists.
func TestExecute_RightsOfTheCaller(t *testing.T) {
	h := handler(t)
	refused := func(context, key string) string {
		return names.Replace(`{"jsonrpc":"2.0","id":1,"error":{"code":-32002,"message":"may not act as ` + key + ` in context ` + context +
			`","type":"Unauthorized","data":{"context_id":"` + context + `","public_key":"` + key + `"}}}`)
	}
	for _, tt := range []struct{ permissions, params, want string }{
		{"", `{"contextId":"EMPTY","method":"get"}`, refused("EMPTY", "ZERO")},
		{"context:execute[UNKNOWN]", `{"contextId":"EMPTY","method":"get"}`, refused("EMPTY", "ZERO")},
		{"context:execute[EMPTY]", `{"contextId":"UNKNOWN","method":"get","executorPublicKey":"FOREIGN"}`, refused("UNKNOWN", "FOREIGN")},
		{"context:execute[EMPTY,,get]", `{"contextId":"EMPTY","method":"set"}`, refused("EMPTY", "ZERO")},
		{"context:execute[EMPTY,,get]", `{"contextId":"EMPTY","method":"init"}`, refused("EMPTY", "ZERO")},
		{"admin", `{"contextId":"EMPTY","method":"get","executorPublicKey":"ZERO"}`, refused("EMPTY", "ZERO")},
		{"admin", `{"contextId":"EMPTY","method":"get","executorPublicKey":"nobody"}`, badParams + said(`executorPublicKey: "nobody" is neither an id nor an alias that the caller may use`)},
		// The names within a context are for those who may call it.
		{"context:execute[UNKNOWN]", `{"contextId":"EMPTY","method":"get","executorPublicKey":"guess"}`, refused("EMPTY", "ZERO")},
		{"context:execute[UNKNOWN]", `{"contextId":"EMPTY","method":"get","substitute":["guess"]}`, refused("EMPTY", "ZERO")},
		{"application-binding[FOREIGN],context:execute", `{"contextId":"UNKNOWN","method":"get"}`, refused("UNKNOWN", "ZERO")},
	} {
		if got, _ := handle(t, h, tt.permissions, execute(tt.params)); !same(t, got, tt.want) {
			t.Errorf("%s: %s: %s, want %s", tt.permissions, tt.params, got, tt.want)
		}
	}
	// A name of what the caller may not call tells no more than a name that nobody gave.
	for _, tt := range []struct{ permissions, params string }{
		{"context:execute[EMPTY,,get]", `{"contextId":"NAME","method":"set"}`},
		{"context[UNKNOWN],context:execute", `{"contextId":"NAME","method":"set"}`},
		{"context:execute[UNKNOWN,FOREIGN,get]", `{"contextId":"NAME","method":"get"}`},
		{"context:execute[UNKNOWN,FOREIGN,get]", `{"contextId":"NAME","method":"get","executorPublicKey":"FOREIGN","substitute":["guess"]}`},
		{"application-binding[FOREIGN],context:execute,context:alias", `{"contextId":"NAME","method":"get"}`},
		{"context:execute[EMPTY,FOREIGN]", `{"contextId":"EMPTY","method":"get","executorPublicKey":"NAME"}`}, // that of another identity
	} {
		known, _ := handle(t, h, tt.permissions, execute(strings.ReplaceAll(tt.params, "NAME", "empty")))
		guess, _ := handle(t, h, tt.permissions, execute(strings.ReplaceAll(tt.params, "NAME", "nosuch")))
		if !strings.Contains(known, `\"empty\" is neither an id nor an alias that the caller may use`) || strings.Contains(known, empty.String()) ||
			strings.ReplaceAll(known, "empty", "nosuch") != guess {
			t.Errorf("%s: %s: %s, and for an unknown name: %s", tt.permissions, tt.params, known, guess)
		}
	}
	// Each element of a batch is judged by itself.
	batch := `[` + execute(`{"contextId":"EMPTY","method":"get"}`) + `,` + execute(`{"contextId":"UNKNOWN","method":"get"}`) + `]`
	got, _ := handle(t, h, "context:execute[UNKNOWN]", batch)
	if !strings.Contains(got, `"Unauthorized"`) || !strings.Contains(got, `"ContextNotFound"`) {
		t.Errorf("batch: %s", got)
	}
}

func TestSyncStatus(t *testing.T) {
	h := handler(t)
	status := names.Replace(`{"jsonrpc":"2.0","id":1,"method":"sync_status","params":{"contextId":"EMPTY"}}`)
	want := names.Replace(`{"jsonrpc":"2.0","id":1,"result":{"contextId":"EMPTY","isInitialized":false,"syncState":"synced","failureCount":0}}`)
	if got, _ := handle(t, h, "context:sync", status); !same(t, got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	if got, _ := handle(t, h, "context:sync[UNKNOWN]", status); !strings.Contains(got, `"Unauthorized"`) {
		t.Errorf("of another context: %s", got)
	}
	byName := strings.Replace(status, empty.String(), "empty", 1)
	if got, _ := handle(t, h, "context:sync", byName); !same(t, got, want) {
		t.Errorf("by its name: %s, want %s", got, want)
	}
	known, _ := handle(t, h, "context:sync[UNKNOWN]", byName)
	guess, _ := handle(t, h, "context:sync[UNKNOWN]", strings.Replace(byName, `"empty"`, `"nosuch"`, 1))
	if strings.Contains(known, empty.String()) || !strings.Contains(known, `\"empty\"`) || strings.ReplaceAll(known, "empty", "nosuch") != guess {
		t.Errorf("of another context by its name: %s, and by an unknown one: %s", known, guess)
	}
}
