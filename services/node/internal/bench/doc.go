// Package bench measures what the node promises, each figure beside what it is compared with, in one run:
//
//	go test -run TestRatios -v ./internal/bench -ratios
package bench
