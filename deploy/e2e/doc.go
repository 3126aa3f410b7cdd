// Package e2e plays the whole stack from outside: the real nginx with the shipped configuration in front of the real
// mero-auth and merod. There is no code in it but tests; docs/testing.md says how to run and extend them.
//
// Tests whose name begins with TestScenario need nothing but an address, so they also play against a stack that runs
// already: set MERO_E2E_URL to its address and MERO_E2E_SECRET to its bootstrap secret.
package e2e
