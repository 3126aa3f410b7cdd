package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that stops the start.
type Problem struct {
	Key     string `json:"key"`              // the key, or the environment variable when no key is concerned; "" for a file as a whole
	Value   string `json:"value,omitempty"`  // the offending value as it would be written; "" when it may be a secret
	Origin  string `json:"origin,omitempty"` // where the value comes from: file:line, "environment NAME", "flag --bind"
	Message string `json:"message"`          // what to do

	at origin
}

// String is the problem in one line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Key)
	if p.Value != "" {
		b.WriteString(" = " + p.Value)
	}
	if p.Origin != "" {
		fmt.Fprintf(&b, " (%s)", p.Origin)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return strings.TrimSpace(b.String())
}

// Problems is the error of Load: everything that is wrong, in the order of the sources.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	var b strings.Builder
	noun := "problems"
	if len(ps) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "the configuration has %d %s:", len(ps), noun)
	for _, p := range ps {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Warning is something that does not stop the start and that the operator should know.
type Warning struct {
	Key     string `json:"key"`              // the key or the environment variable
	Origin  string `json:"origin,omitempty"` // as in Problem; "" when the warning is about a combination
	Message string `json:"message"`
}

// String is the warning in one line.
func (w Warning) String() string {
	return Problem{Key: w.Key, Origin: w.Origin, Message: w.Message}.String()
}

// origin is where a value comes from.
type origin struct {
	layer int // order of the sources
	line  int // in the file
	text  string
}

const (
	fromDefaults = iota
	fromFile
	fromEnvironment
	fromFlags
	fromGiven
	fromNowhere // about a combination of values
)

func sortProblems(ps []Problem) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.at.layer, b.at.layer), cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.Key, b.Key))
	})
}

// closest finds the known name that was probably meant, or "". A name in the wrong section counts as near.
func closest(name string, known []string) string {
	best, bestAt := "", min(len(name)/3+1, 4)
	for _, k := range known {
		d := distance(name, k, bestAt)
		if lastPart(k) == lastPart(name) {
			d = min(d, 1)
		}
		if d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// distance is the number of insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal
// string alignment), without regard to case. From limit on the exact number does not matter.
func distance(a, b string, limit int) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	var before []int
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}

// suggestion is the end of a message about an unknown name.
func suggestion(name string, known []string) string {
	if c := closest(name, known); c != "" {
		return "; did you mean " + c + "?"
	}
	return ""
}
