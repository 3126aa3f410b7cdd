package near

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/calimero-network/mero-go/services/auth/internal/jsonrpc"
	"github.com/calimero-network/mero-go/services/auth/internal/provider"
)

// errNoAccess is the one refusal of a key that is unknown, or limited to function calls, or of an unknown account.
var errNoAccess = fmt.Errorf("%w: the public key has no full access to the account", provider.ErrRejected)

// checkAccess asks the RPC node whether key is a full-access key of account (docs.near.org, method query with request
// type view_access_key). Only what says so in so many words is a yes, and only what denies it in so many words is
// errNoAccess; everything else is [provider.ErrUnavailable].
func (p *Provider) checkAccess(ctx context.Context, account string, key publicKey) error {
	result, err := p.RPC.Call(ctx, "query", map[string]string{
		"request_type": "view_access_key", "finality": "final", "account_id": account, "public_key": key.String(),
	})
	if refusal, is := errors.AsType[*jsonrpc.Error](err); is {
		return checkRefusal(refusal, implicitOf(account, key))
	}
	if errors.Is(err, jsonrpc.ErrUnavailable) {
		return fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
	}
	if err != nil {
		return err
	}
	return checkAccessKey(result)
}

// checkAccessKey reads the result of view_access_key: {nonce, permission, block_height, block_hash}.
func checkAccessKey(result json.RawMessage) error {
	members, err := jsonrpc.Members(result)
	if err != nil {
		return unusable("the result is no object")
	}
	// Gateways of old answer errors as results.
	if _, failed := members["error"]; failed {
		return unusable("the result holds an error")
	}
	if height, err := strconv.ParseUint(string(members["block_height"]), 10, 64); err != nil || height == 0 {
		return unusable("the result is not of a block, or of a node that has none yet")
	}
	permission := members["permission"]
	if text, is := jsonrpc.Text(permission); is {
		if text == "FullAccess" {
			return nil
		}
		return errNoAccess
	}
	// {"FunctionCall": {…}}: a key that any application may ask a wallet for.
	if limited, err := jsonrpc.Members(permission); err == nil && len(limited) > 0 {
		return errNoAccess
	}
	return unusable("the result has no permission")
}

// checkRefusal reads an error of view_access_key: {name: "HANDLER_ERROR", cause: {name}}; its code, data and message
// are legacy. An implicit account that never received anything does not exist on chain; until then the key that it is
// named after is the one that controls it. Once it exists, only the chain knows whether that key is still there.
func checkRefusal(refusal *jsonrpc.Error, implicit bool) error {
	members, err := jsonrpc.Members(refusal.Object)
	if err != nil {
		return unusable("the error is no object")
	}
	if name, _ := jsonrpc.Text(members["name"]); name != "HANDLER_ERROR" {
		return unusable("the node could not handle the query")
	}
	cause, err := jsonrpc.Members(members["cause"])
	if err != nil {
		return unusable("the error has no cause")
	}
	switch name, _ := jsonrpc.Text(cause["name"]); name {
	case "UNKNOWN_ACCOUNT":
		if implicit {
			return nil
		}
		return errNoAccess
	case "UNKNOWN_ACCESS_KEY", "INVALID_ACCOUNT":
		return errNoAccess
	}
	return unusable("the node could not answer the query")
}

func unusable(why string) error {
	return fmt.Errorf("%w: near: %s", provider.ErrUnavailable, why)
}
