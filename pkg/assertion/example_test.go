package assertion_test

import (
	"fmt"
	"time"

	"github.com/calimero-network/mero-go/pkg/assertion"
)

func Example() {
	secret := []byte("an example, never a key in use!!")
	key, err := assertion.NewKey(secret)
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := assertion.NewRing(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Unix(1767225600, 0)
	c := assertion.Claim{Key: "k1", Permissions: "blob:list", Method: "GET", Target: "/admin-api/blobs"}
	header := ring.Sign(c, now.Add(time.Minute))

	fmt.Println(ring.Verify(header, c, now, 30*time.Second, time.Hour))
	c.Method = "DELETE"
	fmt.Println(ring.Verify(header, c, now, 30*time.Second, time.Hour))
	// Output:
	// <nil>
	// assertion: signature does not cover this request
}
