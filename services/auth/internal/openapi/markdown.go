package openapi

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown renders the document as a page for people.
func (d Document) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", d.Info.Title, d.Info.Description)
	b.WriteString("\n| request | needs | what it does |\n|---|---|---|\n")
	d.each(func(path, method string, op operation) {
		fmt.Fprintf(&b, "| [`%s %s`](#%s) | %s | %s |\n", strings.ToUpper(method), path, anchor(method, path), op.access(), op.Summary)
	})
	d.each(func(path, method string, op operation) { op.page(&b, method, path) })
	b.WriteString("\n## Refusals\n\nWhat the refusals mean that several requests share:\n\n| status | meaning |\n|---|---|\n")
	names := make([]string, 0, len(d.Components.Responses))
	for name := range d.Components.Responses {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.TrimPrefix(name, "Refused"), d.Components.Responses[name].Description)
	}
	return b.String()
}

// each goes through the operations in the order of the table.
func (d Document) each(visit func(path, method string, op operation)) {
	for _, path := range d.Paths.names {
		methods := d.Paths.values[path]
		for _, method := range methods.names {
			visit(path, method, methods.values[method])
		}
	}
}

// anchor is the fragment that Markdown viewers give the heading of an operation.
func anchor(method, path string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return -1
	}, strings.ToLower(method+" "+path))
}

// access says what the caller needs.
func (op operation) access() string {
	switch {
	case !op.authenticated():
		return "nothing"
	case len(op.Permissions) == 0:
		return "any token"
	}
	text := "`" + strings.Join(op.Permissions, "` or `") + "`"
	if op.OwnObject {
		text = "any token for one's own, else " + text
	}
	return text
}

func (op operation) page(b *strings.Builder, method, path string) {
	fmt.Fprintf(b, "\n## %s %s\n\n%s. Needs: %s.\n", strings.ToUpper(method), path, strings.TrimSuffix(op.Summary, "."), op.access())
	if op.Description != "" {
		fmt.Fprintf(b, "\n%s\n", op.Description)
	}
	table(b, "Query", queryRows(op.Parameters))
	if op.RequestBody != nil {
		for _, form := range forms(op.RequestBody.Content["application/json"].Schema) {
			table(b, "Body", form.rows("", form.Required))
		}
	}
	var shared []string
	for _, status := range statuses(op.Responses) {
		r := op.Responses[status]
		if r.Ref != "" {
			shared = append(shared, status)
			continue
		}
		if !strings.HasPrefix(status, "2") {
			fmt.Fprintf(b, "\n**%s** %s\n", status, r.Description)
			continue
		}
		op.success(b, status, r)
	}
	if len(shared) > 0 {
		fmt.Fprintf(b, "\n[Refusals](#refusals): %s\n", strings.Join(shared, ", "))
	}
}

// success describes the answer that callers hope for.
func (op operation) success(b *strings.Builder, status string, r response) {
	if r.Description != "success" {
		fmt.Fprintf(b, "\n**%s** %s\n", status, r.Description)
	}
	names := make([]string, 0, len(r.Headers))
	for name := range r.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	rows := make([][3]string, 0, len(names))
	for _, name := range names {
		rows = append(rows, [3]string{name, "", r.Headers[name].Description})
	}
	for media, c := range r.Content {
		if media != "application/json" {
			fmt.Fprintf(b, "\nAnswer %s: `%s`\n", status, media)
			continue
		}
		data := c.Schema.Properties.values["data"]
		if data == nil {
			data = c.Schema
		}
		name := "data"
		for slices.Equal(data.Type, []string{"array"}) {
			name, data = name+"[]", data.Items
		}
		for _, form := range forms(data) {
			if len(form.Properties.names) == 0 {
				fmt.Fprintf(b, "\nAnswer %s: `%s` is %s\n", status, name, form.kind())
				continue
			}
			table(b, "Answer "+status+": `"+name+"`", form.rows("", nil))
		}
	}
	table(b, "Headers of the answer", rows)
}

func statuses(all map[string]response) []string {
	list := make([]string, 0, len(all))
	for status := range all {
		list = append(list, status)
	}
	slices.Sort(list)
	return list
}

func queryRows(all []parameter) (rows [][3]string) {
	for _, p := range all {
		if p.In == "query" {
			rows = append(rows, [3]string{p.Name, p.Schema.kind(), p.Description})
		}
	}
	return rows
}

func forms(s *Schema) []*Schema {
	if len(s.AnyOf) > 0 {
		return s.AnyOf
	}
	return []*Schema{s}
}

// rows lists the members of an object, those of objects in it behind their name.
func (s *Schema) rows(prefix string, required []string) (rows [][3]string) {
	for _, name := range s.Properties.names {
		member := s.Properties.values[name]
		text := member.Text
		if slices.Contains(required, name) && !strings.HasPrefix(text, "required") {
			text = "required. " + text
		}
		rows = append(rows, [3]string{prefix + name, member.kind(), text})
		inner, mark := member, prefix+name+"."
		if slices.Contains(member.Type, "array") {
			inner, mark = member.Items, prefix+name+"[]."
		}
		rows = append(rows, inner.rows(mark, inner.Required[:0])...)
	}
	return rows
}

// kind names the type for people.
func (s *Schema) kind() string {
	if len(s.Type) == 0 {
		return "any JSON"
	}
	names := slices.Clone(s.Type)
	if i := slices.Index(names, "array"); i >= 0 && s.Items != nil {
		names[i] += " of " + s.Items.kind()
	}
	return strings.Join(names, " or ")
}

func table(b *strings.Builder, title string, rows [][3]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n\n| name | type | meaning |\n|---|---|---|\n", title)
	for _, r := range rows {
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", r[0], r[1], r[2])
	}
}
