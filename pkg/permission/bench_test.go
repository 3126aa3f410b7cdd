package permission_test

import (
	"fmt"
	"testing"

	"github.com/calimero-network/mero-go/pkg/permission"
)

// appList is what an app behind a binding usually holds.
var appList = []string{
	"context[c1,member-pk-1]", "context:create", "context:list", "context:execute", "context:alias", "namespace", "group", "blob",
}

// manyList returns n permissions of which none covers context:read[c1].
func manyList(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("context:read:specific:x%d", i)
	}
	return list
}

func BenchmarkParse(b *testing.B) {
	for _, s := range []string{"context:list", "context:execute[c1,member-pk-1,get]", "context:execute:specific:c1"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := permission.Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSetAllows(b *testing.B) {
	read, missing := permission.MustParse("context:read"), permission.MustParse("application:install")
	for _, c := range []struct {
		name     string
		list     []string
		required permission.Permission
		want     bool
	}{
		{"admin", []string{"admin"}, read.On("c1"), true},
		{"app", appList, read.On("c1"), true},
		{"app/denied", appList, missing, false},
		{"app/bound elsewhere", appList, read.On("c2"), false},
		{"1000/last", append(manyList(1000), "context:read[c1]"), read.On("c1"), true},
		{"1000/denied", manyList(1000), read.On("c1"), false},
	} {
		b.Run(c.name, func(b *testing.B) {
			set := permission.NewSet(c.list)
			b.ReportAllocs()
			for b.Loop() {
				if set.Allows(c.required) != c.want {
					b.Fatal("wrong decision")
				}
			}
		})
	}
}

func BenchmarkNewSet(b *testing.B) {
	for name, list := range map[string][]string{"app": appList, "1000": manyList(1000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				permission.NewSet(list)
			}
		})
	}
}

func BenchmarkEffective(b *testing.B) {
	for name, list := range map[string][]string{"app": appList, "64": manyList(64), "1000": manyList(1000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				permission.Effective(list, list, []string{"admin"})
			}
		})
	}
}
