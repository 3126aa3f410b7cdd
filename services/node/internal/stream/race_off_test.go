//go:build !race

package stream_test

const subscribers = 1000
