package bundle

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// ErrVersion reports a text that is not a semantic version.
var ErrVersion = errors.New("not a semantic version")

// maxVersion bounds the text of a version in bytes.
const maxVersion = 64

// Version is a semantic version (SemVer 2.0.0). The zero value is no version.
type Version struct {
	core       [3]string // decimal, of any length, without leading zeros
	prerelease []string
}

// ParseVersion reads a semantic version: 1.2.3, 1.2.3-rc.1, with or without +build metadata, which does not count.
func ParseVersion(s string) (Version, error) {
	if len(s) > maxVersion {
		return Version{}, ErrVersion
	}
	var v Version
	s, build, hasBuild := strings.Cut(s, "+")
	if hasBuild && !allOf(strings.Split(build, "."), isIdentifier) {
		return Version{}, ErrVersion
	}
	s, pre, hasPre := strings.Cut(s, "-")
	if hasPre {
		v.prerelease = strings.Split(pre, ".")
		if !allOf(v.prerelease, func(p string) bool { return isIdentifier(p) && (!isDigits(p) || isNumber(p)) }) {
			return Version{}, ErrVersion
		}
	}
	core := strings.Split(s, ".")
	if len(core) != len(v.core) || !allOf(core, isNumber) {
		return Version{}, ErrVersion
	}
	copy(v.core[:], core)
	return v, nil
}

// Compare returns a negative number if v comes before w, 0 if neither comes before the other, and a positive number
// otherwise (SemVer 2.0.0 section 11).
func (v Version) Compare(w Version) int {
	for i := range v.core {
		if c := compareNumbers(v.core[i], w.core[i]); c != 0 {
			return c
		}
	}
	if len(v.prerelease) == 0 || len(w.prerelease) == 0 {
		return cmp.Compare(len(w.prerelease), len(v.prerelease)) // without is higher than with
	}
	return slices.CompareFunc(v.prerelease, w.prerelease, func(a, b string) int {
		switch x, y := isDigits(a), isDigits(b); {
		case x && y:
			return compareNumbers(a, b)
		case x:
			return -1
		case y:
			return 1
		}
		return strings.Compare(a, b)
	})
}

// CompareVersions orders version texts: semantic versions after all others, those by their precedence, others as texts.
func CompareVersions(a, b string) int {
	v, errV := ParseVersion(a)
	w, errW := ParseVersion(b)
	switch {
	case errV == nil && errW == nil:
		return v.Compare(w)
	case errV == nil:
		return 1
	case errW == nil:
		return -1
	}
	return strings.Compare(a, b)
}

// compareNumbers compares decimal numbers without leading zeros.
func compareNumbers(a, b string) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func allOf(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}

func isNumber(s string) bool { return isDigits(s) && (s[0] != '0' || len(s) == 1) }

func isDigits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// isIdentifier reports whether s is a non-empty text of letters, digits and hyphens.
func isIdentifier(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	})
}
