package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	rpcTimeout = 5 * time.Second
	maxRPC     = 1 << 20 // bytes of an answer
)

// rpc asks the nodes that prove the ownership of wallets which chain they are on, and compares their clock.
func (e *examination) rpc(ctx context.Context) {
	if e.cfg.Providers.NearWallet {
		e.ask(ctx, "near rpc", e.cfg.Near.RPCURL, "status", func(result json.RawMessage) error {
			var status struct {
				Chain string `json:"chain_id"`
			}
			if err := json.Unmarshal(result, &status); err != nil {
				return errors.New("its status cannot be read")
			}
			if status.Chain != e.cfg.Near.Network {
				return fmt.Errorf("it is on %q, near.network is %q", status.Chain, e.cfg.Near.Network)
			}
			return nil
		})
	}
	if e.cfg.Providers.EthWallet && e.cfg.Eth.RPCURL != "" {
		e.ask(ctx, "eth rpc", e.cfg.Eth.RPCURL, "eth_chainId", func(result json.RawMessage) error {
			var text string
			if err := json.Unmarshal(result, &text); err != nil {
				return errors.New("its chain id cannot be read")
			}
			id, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
			if err != nil || !slices.Contains(e.cfg.Eth.ChainIDs, id) {
				return fmt.Errorf("it is on chain %q, eth.chain_ids is %v", text, e.cfg.Eth.ChainIDs)
			}
			return nil
		})
	}
}

func (e *examination) ask(ctx context.Context, check, address, method string, judge func(json.RawMessage) error) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	result, date, err := callRPC(ctx, address, method)
	if err == nil {
		err = judge(result)
	}
	if err != nil {
		e.note(check, broken, "%v", err)
		return
	}
	e.note(check, healthy, "answers")
	if off := time.Since(date).Abs(); !date.IsZero() && off > clockTolerance+rpcTimeout {
		e.note("clock", doubt, "differs by %s from that of the %s node", off.Round(time.Second), check)
	}
}

// callRPC returns the result of a JSON-RPC call without parameters and the time that the server told. Errors do not
// quote the address, which can hold a key.
func callRPC(ctx context.Context, address, method string) (result json.RawMessage, date time.Time, err error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":[]}`, method)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, date, errors.New("its address cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, date, fmt.Errorf("cannot be reached: %w", errors.Unwrap(err)) // without the address
	}
	defer func() { _ = res.Body.Close() }() // read-only
	if res.StatusCode != http.StatusOK {
		return nil, date, fmt.Errorf("answers %s", res.Status)
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxRPC)).Decode(&answer); err != nil || answer.Result == nil {
		return nil, date, errors.New("its answer is no JSON-RPC result")
	}
	date, err = http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		date = time.Time{}
	}
	return answer.Result, date, nil
}
