package permission_test

import (
	"fmt"

	"github.com/calimero-network/mero-go/pkg/permission"
)

func Example() {
	set := permission.NewSet([]string{"context[ctx-1,alice]", "context:execute", "blob:list"})
	execute := permission.MustParse("context:execute")

	fmt.Println(set.Allows(execute.On("ctx-1").As("alice")))
	fmt.Println(set.Allows(execute.On("ctx-1").As("bob")))
	fmt.Println(set.Allows(execute.On("ctx-2")))
	fmt.Println(set.AllowsAnyScope(execute))
	// Output:
	// true
	// false
	// false
	// true
}

func ExampleParse() {
	short, _ := permission.Parse("context:execute[ctx-1]")
	long, _ := permission.Parse("context:execute:specific:ctx-1")
	fmt.Println(short == long, long)

	_, err := permission.Parse("context:exec")
	fmt.Println(err)
	// Output:
	// true context:execute[ctx-1]
	// permission "context:exec": byte 8: unknown word "exec" after "context"
}

func ExamplePermission_Covers() {
	list := permission.MustParse("context:list")
	fmt.Println(list.Covers(permission.MustParse("context:read[ctx-1]")))
	fmt.Println(list.Covers(permission.MustParse("context:delete[ctx-1]")))
	// Output:
	// true
	// false
}

func ExampleEffective() {
	token := []string{"context:list", "context:execute", "blob:get"}
	key := []string{"context[ctx-1]", "context:list", "context:execute:specific:ctx-1"}
	root := []string{"admin"}
	fmt.Println(permission.Join(permission.Effective(token, key, root)))
	// Output: context[ctx-1],context:list,context:execute:specific:ctx-1
}

func ExampleSplit() {
	for _, s := range permission.Split("context[ctx-1,alice],context:execute,blob") {
		fmt.Println(s)
	}
	// Output:
	// context[ctx-1,alice]
	// context:execute
	// blob
}
