module github.com/calimero-network/mero-go/deploy/e2e

go 1.26.0
