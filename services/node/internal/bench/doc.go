// Package bench measures the node against what it is allowed to cost, as ratios to a denominator that is measured in
// the same run, in turns, on the same machine.
//
//	go test -run '^TestRatios$' -v ./internal/bench -ratios
//
// prints the table. Without -ratios the same test runs every measurement for an instant, to show that it works; its
// figures mean nothing. No figure fails the test: a busy machine is not a defect.
package bench
