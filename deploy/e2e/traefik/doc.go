// Package traefik holds the shipped Traefik configuration to what the gate relies on. It reads the files and runs no
// Traefik; nginx/mero.conf, which the tests beside it do run, is the measure.
package traefik
