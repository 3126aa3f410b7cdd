package config

import (
	"reflect"
	"strings"
	"time"
)

// Report is the result of [Load] for programs. Secrets are masked in it.
type Report struct {
	Valid    bool           `json:"valid"`
	Problems []Problem      `json:"problems"`
	Warnings []Warning      `json:"warnings"`
	Settings map[string]any `json:"settings,omitempty"` // effective, by section; durations in seconds
}

// NewReport makes the report of what Load returned.
func NewReport(c Config, warnings []Warning, problems Problems) Report {
	r := Report{Valid: len(problems) == 0, Problems: problems, Warnings: warnings}
	if r.Problems == nil {
		r.Problems = []Problem{}
	}
	if r.Warnings == nil {
		r.Warnings = []Warning{}
	}
	if r.Valid {
		r.Settings = c.tree()
	}
	return r
}

// tree returns every setting under its section, in values that encode as JSON; secrets mask themselves.
func (c Config) tree() map[string]any {
	root := map[string]any{}
	for _, f := range newSchema().fields {
		at := root
		parts := strings.Split(f.name, ".")
		for _, section := range parts[:len(parts)-1] {
			next, ok := at[section].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[section] = next
			}
			at = next
		}
		value := f.of(&c).Interface()
		switch v := value.(type) {
		case time.Duration:
			value = int64(v / time.Second)
		default:
			if f.typ.Kind() == reflect.Slice && f.of(&c).IsNil() {
				value = []string{}
			}
		}
		at[parts[len(parts)-1]] = value
	}
	if c.Admin.User != "" {
		root["admin"] = map[string]any{"user": c.Admin.User}
	}
	return root
}
