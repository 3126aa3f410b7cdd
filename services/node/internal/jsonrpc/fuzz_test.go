package jsonrpc_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/calimero-network/mero-go/services/node/internal/jsonrpc"
)

func FuzzHandle(f *testing.F) {
	for _, text := range []string{
		``, `{}`, `[]`, `[{}]`, `{"jsonrpc":"2.0","id":1,"method":"execute","params":{}}`, `[[[]]]`, `{"jsonrpc":"2.0","method":"x"}`,
		execute(`{"contextId":"EMPTY","method":"get","argsJson":{"a":[1,"{b}"]},"substitute":["b"]}`),
		execute(`{"contextId":"empty","method":"get","executorPublicKey":"FOREIGN"}`),
		`[` + execute(`{"contextId":"UNKNOWN","method":"set","argsJson":null}`) + `,1,{"jsonrpc":"2.0","method":"sync_status"}]`,
		"\xff", `{"id":"\ud800","jsonrpc":"2.0","method":"execute"}`, `{"jsonrpc":"2.0","id":1e999,"method":"sync_status","params":{"contextId":"x"}}`,
	} {
		f.Add([]byte(text))
	}
	h := handler(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		answer, class := handle(t, h, "context", string(text))
		if answer == "" {
			if class != jsonrpc.Answered {
				t.Errorf("%q: no answer of class %d", text, class)
			}
			return
		}
		var one struct {
			Version string           `json:"jsonrpc"`
			ID      *json.RawMessage `json:"id"`
			Result  any              `json:"result"`
			Error   *struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
				Type    string `json:"type"`
				Data    any    `json:"data"`
			} `json:"error"`
		}
		list := []json.RawMessage{json.RawMessage(answer)}
		if answer[0] == '[' {
			if err := json.Unmarshal([]byte(answer), &list); err != nil || len(list) == 0 || len(list) > jsonrpc.MaxBatch {
				t.Fatalf("%q: %s: %v", text, answer, err)
			}
		}
		for _, e := range list {
			one.Result, one.Error = nil, nil
			if err := json.Unmarshal(e, &one); err != nil || one.Version != "2.0" {
				t.Fatalf("%q: %s: %v", text, answer, err)
			}
			if (one.Error == nil) == (one.Result == nil) {
				t.Errorf("%q: %s: result and error", text, e)
			}
			if one.Error != nil && (one.Error.Data == nil || one.Error.Type == "" || one.Error.Code >= 0) {
				t.Errorf("%q: %s: clients cannot read the error", text, e)
			}
			if one.Error != nil && one.Error.Type == "InternalError" {
				t.Errorf("%q: %s", text, e)
			}
		}
		if bytes.ContainsAny([]byte(answer), "\n\r") {
			t.Errorf("%q: the answer has several lines", text)
		}
	})
}
