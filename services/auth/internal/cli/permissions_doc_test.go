package cli_test

import (
	"os"
	"strings"
	"testing"
)

// The console sessions of the permission guide are what the command prints.
func TestPermissionGuide(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	sessions := strings.Split(string(text), "```console\n")[1:]
	if len(sessions) < 4 {
		t.Fatalf("%d console sessions in the guide, want at least 4", len(sessions))
	}
	for _, session := range sessions {
		session, _, _ = strings.Cut(session, "```")
		prompt, want, _ := strings.Cut(session, "\n")
		line, is := strings.CutPrefix(prompt, "$ mero-auth ")
		if !is {
			t.Errorf("%q is no call of mero-auth", prompt)
			continue
		}
		if _, got, stderr := command(t, nil, words(line)...); got != want || stderr != "" {
			t.Errorf("%s\ngot:\n%s%swant:\n%s", prompt, got, stderr, want)
		}
	}
}

// words splits a command line at blanks outside double quotes.
func words(line string) (all []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			all = append(all, part)
			continue
		}
		all = append(all, strings.Fields(part)...)
	}
	return all
}
