package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
)

// rpc asks the nodes that prove the ownership of wallets which chain they are on.
func (e *examination) rpc(ctx context.Context) {
	if e.cfg.Providers.NearWallet {
		e.ask(ctx, "near rpc", e.cfg.Near.RPCURL, e.cfg.Near.APIKey, "status", func(result json.RawMessage) error {
			members, err := jsonrpc.Members(result)
			if err != nil {
				return errors.New("its status cannot be read")
			}
			if chain, _ := jsonrpc.Text(members["chain_id"]); chain != e.cfg.Near.Network {
				return fmt.Errorf("it is on %q, near.network is %q", chain, e.cfg.Near.Network)
			}
			return nil
		})
	}
	if e.cfg.Providers.EthWallet && e.cfg.Eth.RPCURL != "" {
		e.ask(ctx, "eth rpc", e.cfg.Eth.RPCURL, "", "eth_chainId", func(result json.RawMessage) error {
			text, _ := jsonrpc.Text(result)
			id, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 64)
			if err != nil || !slices.Contains(e.cfg.Eth.ChainIDs, id) {
				return fmt.Errorf("it is on chain %q, eth.chain_ids is %v", text, e.cfg.Eth.ChainIDs)
			}
			return nil
		})
	}
}

// ask calls a method without parameters, as the providers call theirs.
func (e *examination) ask(ctx context.Context, check string, address config.Endpoint, key config.Secret, method string, judge func(json.RawMessage) error) {
	client := jsonrpc.New(jsonrpc.Options{Name: check, URL: address.Reveal(), APIKey: key.Reveal(), Now: time.Now})
	defer client.Close()
	result, err := client.Call(ctx, method, []any{})
	if err == nil {
		err = judge(result)
	}
	if err != nil {
		e.note(check, broken, "%v", err)
		return
	}
	e.note(check, healthy, "answers")
}
