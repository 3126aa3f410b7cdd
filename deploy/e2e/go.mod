module github.com/calimero-network/mero-go/deploy/e2e

go 1.26.0

require github.com/calimero-network/mero-go/pkg v0.0.0

replace github.com/calimero-network/mero-go/pkg => ../../pkg
