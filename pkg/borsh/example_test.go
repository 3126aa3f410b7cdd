package borsh_test

import (
	"fmt"

	"github.com/calimero-network/mero-go/pkg/borsh"
)

// A struct is its fields in order: here a NEP-413 payload without its tag.
func ExampleEncoder() {
	var e borsh.Encoder
	e.Str("hi")           // message
	e.Fixed([]byte{1, 2}) // nonce, shortened
	e.Str("me")           // recipient
	e.Option(false)       // no callback
	data, err := e.Finish()
	fmt.Printf("%x %v\n", data, err)
	// Output: 0200000068690102020000006d6500 <nil>
}

func ExampleDecoder() {
	d := borsh.NewDecoder([]byte("\x02\x00\x00\x00\x01\x00\x02\x00\x01\x02\x00\x00\x00ok"))
	numbers := make([]uint16, d.Len(2))
	for i := range numbers {
		numbers[i] = d.U16()
	}
	var note string
	if d.Option() {
		note = d.Str()
	}
	fmt.Println(numbers, note, d.Finish())

	d = borsh.NewDecoder([]byte{7})
	d.Bool()
	fmt.Println(d.Finish())
	// Output:
	// [1 2] ok <nil>
	// borsh: decode at offset 0: bool is neither 0 nor 1
}
