package jsonrpc_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
)

// What is accepted must be, for encoding/json too, an answer to this call with one of result and error.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":7,"result":{"nonce":85,"permission":"FullAccess","block_height":19884918,"block_hash":"G"}}`,
		`{"jsonrpc":"2.0","id":7,"error":{"name":"HANDLER_ERROR","cause":{"name":"UNKNOWN_ACCESS_KEY","info":{}},"code":-32000}}`,
		`{"jsonrpc":"2.0","id":7,"result":"0x1626ba7e","error":null}`,
		`{"jsonrpc":"2.0","id":7,"result":null,"error":{}}`,
		`{"jsonrpc":"2.0","id":"7","Result":1,"result":2}`, `{"jsonrpc":"2.0","id":7,"result":1,"re\u017fult":2}`, `[{"id":7}]`, `null`, ``, `{"result":{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		result, err := jsonrpc.Decode(answer, 7)
		refusal, said := errors.AsType[*jsonrpc.Error](err)
		if err != nil && !said {
			if result != nil {
				t.Errorf("%q: a result beside %v", answer, err)
			}
			return
		}
		var plain struct {
			Version string          `json:"jsonrpc"`
			ID      uint64          `json:"id"`
			Result  json.RawMessage `json:"result"`
			Error   json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(answer, &plain); err != nil || plain.Version != "2.0" || plain.ID != 7 {
			t.Fatalf("%q was accepted: %+v, %v", answer, plain, err)
		}
		if said && string(refusal.Object) != string(plain.Error) || !said && string(result) != string(plain.Result) {
			t.Errorf("%q: %q, %v; encoding/json reads %q and %q", answer, result, refusal, plain.Result, plain.Error)
		}
		if said && result != nil {
			t.Errorf("%q: both %q and %v", answer, result, err)
		}
	})
}
