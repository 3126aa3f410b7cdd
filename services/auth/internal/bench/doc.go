// Package bench measures the gate against what it is allowed to cost, as ratios to a denominator that is measured
// in the same run, in turns, on the same machine.
//
//	go test -run '^TestRatios$' -v ./internal/bench -ratios
//
// prints the table in about four minutes (-keys sets the size of the large store). Build it as the service is shipped, with
// CGO_ENABLED=0: the signature checks to compare with would be those of a C library. Without -ratios the same test
// runs every measurement for an instant on a small store, to show that it works; its figures mean nothing. No figure
// fails the test: a busy machine is not a defect.
package bench
