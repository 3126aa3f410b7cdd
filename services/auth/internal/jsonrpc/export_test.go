package jsonrpc

// Decode reads an answer to the call of an id.
var Decode = decode
