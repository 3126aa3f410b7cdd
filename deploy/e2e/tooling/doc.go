// Package tooling holds the tests of the scripts that check, test and fuzz this repository: a tool that passes over what it
// should report is worse than none. They run the scripts in small repositories made for the purpose.
package tooling
