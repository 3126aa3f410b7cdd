package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/calimero-network/mero-go/pkg/permission"
	"github.com/calimero-network/mero-go/pkg/route"
)

// explanation is the outcome of explain.
type explanation struct {
	Method   string   `json:"method"`
	Target   string   `json:"target"`
	Route    string   `json:"route"`    // "METHOD pattern", empty when no row matches
	Requires []string `json:"requires"` // any one is enough; empty on routes that ask for no permission
	Allowed  bool     `json:"allowed"`
	Grants   []string `json:"grants"` // the held permissions that cover it
	Bindings []string `json:"bindings"`
	Ignored  []string `json:"ignored"` // held permissions that mean nothing
	Reason   string   `json:"reason"`
}

func (c *command) explainCommand() *cobra.Command {
	var held string
	var asJSON, enforced bool
	cmd := &cobra.Command{
		Use:   "explain --held PERMISSIONS METHOD TARGET",
		Short: "Say what a request needs and whether a list of permissions covers it",
		Long: `Say what a request needs and whether a list of permissions covers it.

It works offline, with the route table and the permission language that the gate itself uses: nothing is asked
of a service and no token is needed. Exit code 0 says that the request is allowed, 1 that it is denied.`,
		Example: `  mero-auth explain --held "context:list,blob" GET /admin-api/contexts/abc
  mero-auth explain --held "context[ctx-1],context:execute" POST /jsonrpc --json`,
		Args: usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			e, err := explain(strings.ToUpper(args[0]), args[1], held, enforced)
			if err != nil {
				return err
			}
			if asJSON {
				err = c.printJSON(e)
			} else {
				err = e.print(c.Stdout)
			}
			if err == nil && !e.Allowed {
				return exit(ExitError)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&held, "held", "", "the permissions held, separated by `commas`")
	cmd.Flags().BoolVar(&enforced, "node-enforces", true, "the node checks objects that only it can see (node.enforces_permissions)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// explain decides as the gate does for a token, key and root that all hold the same list.
func explain(method, target, held string, enforced bool) (explanation, error) {
	list := permission.Split(held)
	for i := range list {
		list[i] = strings.TrimSpace(list[i]) // people write a blank after the comma
	}
	e := explanation{Method: method, Target: target, Requires: []string{}, Grants: []string{}, Bindings: []string{}, Ignored: []string{}}
	for _, text := range list {
		switch p, err := permission.Parse(text); {
		case err != nil:
			e.Ignored = append(e.Ignored, text)
		case p.IsBinding():
			e.Bindings = append(e.Bindings, text)
		}
	}
	if strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://") {
		return e, &usageError{errors.New("the target is a path, such as /admin-api/contexts, not an address")}
	}
	path, _, err := route.Canonical(target)
	if err != nil {
		e.Reason = fmt.Sprintf("the target is not in canonical form (%v): refused whatever is held", err)
		return e, nil
	}
	match := lookup(method, path)
	e.judge(&match, list, enforced)
	return e, nil
}

// lookup finds the row in the table of the service that serves the path.
func lookup(method, path string) route.Match {
	table := route.Node
	if strings.HasPrefix(path, "/auth/") || strings.HasPrefix(path, "/admin/") {
		table = route.Auth
	}
	match, _ := table.Lookup(method, path)
	return match
}

func (e *explanation) judge(match *route.Match, list []string, enforced bool) {
	if match.Row != nil {
		e.Route = match.Row.String()
		switch match.Row.Guard {
		case route.Public:
			e.Allowed, e.Reason = true, "the route is public: no token is needed"
			return
		case route.AnyToken:
			e.Allowed, e.Reason = true, "any valid token may do this"
			return
		case route.OwnObject, route.ByPermission:
		}
	}
	e.Requires = match.Required()
	e.Allowed = match.AllowedOnOthers(permission.NewSet(list), enforced)
	for _, text := range list {
		if match.AllowedOnOthers(permission.NewSet([]string{text}), enforced) {
			e.Grants = append(e.Grants, text)
		}
	}
	switch {
	case e.Allowed && len(e.Grants) > 0:
		e.Reason = e.Grants[0] + " covers it"
	case e.Allowed:
		e.Reason = "the permissions together cover it"
	case len(e.Grants) > 0:
		e.Reason = e.Grants[0] + " would cover it, but a binding narrows the list to " + strings.Join(e.Bindings, " and ")
	case match.Row == nil:
		e.Reason = "no such route: only admin may ask for it"
	default:
		e.Reason = "nothing that is held covers it"
	}
	if match.Row != nil && match.Row.Guard == route.OwnObject {
		e.Reason += "; for what belongs to the caller's own key any valid token is enough"
	}
}

func (e explanation) print(w io.Writer) error {
	decision := "deny"
	if e.Allowed {
		decision = "allow"
	}
	rows := [][]string{
		{"request", e.Method + " " + e.Target},
		{"route", orDash(e.Route)},
		{"requires", orDash(strings.Join(e.Requires, " or "))},
		{"decision", decision + ": " + e.Reason},
	}
	if len(e.Ignored) > 0 {
		rows = append(rows, []string{"ignored", strings.Join(e.Ignored, ", ") + " (not in the permission language: grants nothing)"})
	}
	return printTable(w, nil, rows)
}
