// Package borsh reads and writes the binary format Borsh (https://borsh.io, specification 1.0) for the few
// shapes that NEAR messages, invitations, application ids and stored records need.
//
// There is no reflection: a struct is its fields written one after the other in order, an enum is U8 and then
// the variant's fields, an Option is [Encoder.Option] and then the value if it is there, and a Vec is
// [Encoder.Len] and then the elements. All numbers are little-endian.
//
// Both directions are strict, so that every value has exactly one encoding and every accepted encoding can be
// written again byte for byte: a bool and an Option tag is 0 or 1, a string is UTF-8, no length exceeds what is
// there, and nothing may follow the last field. Maps and sets, which need sorted keys, and floats are left out.
package borsh

import "errors"

// The errors of both directions, wrapped with the offset at which they occurred.
var (
	ErrShort    = errors.New("unexpected end of input")
	ErrTrailing = errors.New("bytes after the end")
	ErrBool     = errors.New("bool is neither 0 nor 1")
	ErrOption   = errors.New("option tag is neither 0 nor 1")
	ErrUTF8     = errors.New("string is not UTF-8")
	ErrLength   = errors.New("length out of range")
)
