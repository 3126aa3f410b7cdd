package bench_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
)

var ratios = flag.Bool("ratios", false, "measure in earnest and print the table")

// row is a line of the table.
type row struct{ figure, measured, target, denominator string }

// measurements are all there are. Each returns its lines.
var measurements = []func(*testing.T) []row{blobs, executions, starting, fanOut}

// TestRatios measures everything and prints the table.
func TestRatios(t *testing.T) {
	var table []row
	for _, measure := range measurements {
		table = append(table, measure(t)...)
	}
	text, err := render(table)
	if err != nil {
		t.Fatal(err)
	}
	if !*ratios {
		t.Logf("a trial run, these figures mean nothing:\n%s", text)
		return
	}
	if _, err := os.Stdout.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func render(table []row) (string, error) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, r := range append([]row{{"FIGURE", "MEASURED", "TARGET", "DENOMINATOR"}}, table...) {
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.figure, r.measured, r.target, r.denominator); err != nil {
			return "", err
		}
	}
	err := w.Flush()
	return out.String(), err
}
