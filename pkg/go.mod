module github.com/calimero-network/mero-go/pkg

go 1.26.0
