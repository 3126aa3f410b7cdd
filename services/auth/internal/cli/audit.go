package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// followEvery is how often audit --follow asks for what is new.
const followEvery = 2 * time.Second

// auditFlags are the flags of audit.
type auditFlags struct {
	since  string
	limit  int
	follow bool
}

func (c *command) auditCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Print who changed what: keys, permissions, sessions, secrets, logins",
		Example: `  mero-auth audit --since 24h
  mero-auth audit --since 2026-01-31T12:00:00Z --limit 1000 --json
  mero-auth audit --follow`,
		Args: noArgs,
	}
	r := remoteFlags(cmd)
	cmd.Flags().StringVar(&f.since, "since", "", "events from this `time` on: a duration back (24h, 7d), Unix seconds or RFC 3339; default the newest")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "at most so `many`")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with new events until interrupted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.audit(cmd.Context(), r, f) }
	return cmd
}

// auditPage is a part of the audit.
type auditPage struct {
	Events     []json.RawMessage `json:"events"`
	NextCursor string            `json:"next_cursor"`
}

// auditRow is what the table shows of an event.
type auditRow struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"`
	Outcome string    `json:"outcome"`
	Actor   string    `json:"actor"`
	Subject string    `json:"subject"`
	Peer    string    `json:"peer"`
	Reason  string    `json:"reason"`
	Detail  string    `json:"detail"`
	Count   uint64    `json:"count"`
}

func (c *command) audit(ctx context.Context, r *remote, f auditFlags) error {
	query := url.Values{"limit": {strconv.Itoa(f.limit)}}
	if f.since != "" {
		since, err := parseSince(f.since, time.Now())
		if err != nil {
			return &usageError{err}
		}
		query.Set("since", since)
	}
	cl, err := c.connect(r)
	if err != nil {
		return err
	}
	for {
		var page auditPage
		if err := cl.Call(ctx, http.MethodGet, "/admin/audit?"+query.Encode(), nil, &page); err != nil {
			if f.follow && ctx.Err() != nil {
				return nil //nolint:nilerr // the person has seen enough
			}
			return err
		}
		if err := c.printAudit(r, page, f.follow); err != nil || !f.follow {
			return err
		}
		query.Set("cursor", page.NextCursor)
		if len(page.Events) == f.limit {
			continue // there may be more already
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

// printAudit prints a page: an array for scripts, or one object a line when the output goes on.
func (c *command) printAudit(r *remote, page auditPage, follow bool) error {
	if r.json && !follow {
		return c.printJSON(page.Events)
	}
	rows := make([][]string, 0, len(page.Events))
	for _, text := range page.Events {
		if r.json {
			if _, err := fmt.Fprintf(c.Stdout, "%s\n", text); err != nil {
				return err
			}
			continue
		}
		var e auditRow
		if err := json.Unmarshal(text, &e); err != nil {
			return fmt.Errorf("the audit: %w", err)
		}
		rows = append(rows, e.cells())
	}
	if r.json {
		return nil
	}
	header := []string{"TIME", "ACTION", "OUTCOME", "BY", "ON", "FROM", "WHY"}
	if follow {
		header = nil
	}
	return printTable(c.Stdout, header, rows)
}

func (e auditRow) cells() []string {
	why := strings.TrimSpace(e.Reason + " " + e.Detail)
	if e.Count > 1 {
		why = strings.TrimSpace(why + " (" + strconv.FormatUint(e.Count, 10) + " times)")
	}
	return []string{
		e.Time.UTC().Format("2006-01-02 15:04:05Z"), e.Action, e.Outcome, orDash(e.Actor), orDash(e.Subject), orDash(e.Peer), orDash(why),
	}
}

// parseSince returns a time as the service reads it: a duration counts back from now.
func parseSince(text string, now time.Time) (string, error) {
	if _, err := strconv.ParseUint(text, 10, 40); err == nil {
		return text, nil
	}
	if _, err := time.Parse(time.RFC3339, text); err == nil {
		return text, nil
	}
	if back, err := parseLife(text); err == nil {
		return strconv.FormatInt(now.Add(-back).Unix(), 10), nil
	}
	return "", fmt.Errorf("--since: %q is no time such as 24h, 7d, 1767225600 or 2026-01-31T12:00:00Z", text)
}
