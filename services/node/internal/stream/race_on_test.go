//go:build race

package stream_test

// The race detector makes everything about ten times slower.
const subscribers = 150
