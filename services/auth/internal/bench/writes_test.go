package bench_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/calimero-network/mero-go/services/auth/internal/authtest"
	"github.com/calimero-network/mero-go/services/auth/internal/config"
	"github.com/calimero-network/mero-go/services/auth/internal/kv"
	"github.com/calimero-network/mero-go/services/auth/internal/kv/bolt/bolttest"
	"github.com/calimero-network/mero-go/services/auth/internal/provider/ethereum/ethtest"
	"github.com/calimero-network/mero-go/services/auth/internal/store"
	"github.com/calimero-network/mero-go/services/auth/internal/token"
)

// inFlight is how many refreshes or wallet logins are asked for at a time.
const inFlight = 64

const (
	siteHost      = "node.example.com"
	adminName     = "bench"
	adminPassword = "correct horse battery"
)

// operation is a request that is answered once, and the bare signature check in it.
type operation struct {
	request []byte
	check   func() error
}

// writes measures what ends in the store.
func writes(t *testing.T, e effort, binary string) []row {
	t.Helper()
	n := e.turns * e.writes
	// Access tokens that are two hours old have expired, so their sessions can be refreshed.
	service := authtest.StartAt(t, time.Now().Add(-2*time.Hour), authtest.OnDisk, func(c *config.Config) {
		c.PublicURL, c.Providers.EthWallet = "https://"+siteHost, true
	})
	wallets := make([]ethtest.Wallet, inFlight)
	for i := range wallets {
		wallets[i] = ethtest.NewWallet(t, strconv.Itoa(i))
		service.Update(t, func(tx *store.Tx) error {
			id := sha256.Sum256([]byte("eth:" + strings.ToLower(wallets[i].Address)))
			return tx.CreateKey(store.Key{ID: hex.EncodeToString(id[:]), Type: store.Root, AuthMethod: "eth_wallet"}, []string{"admin"})
		})
	}
	sessions := service.Populate(t, n+1, n+1, grants...)
	service.Clock.Advance(2 * time.Hour)
	refreshes, logins := make([]operation, n+1), make([]operation, n+1)
	for i := range n + 1 {
		refreshes[i] = refreshOf(t, sessions[i])
		logins[i] = loginOf(t, service, wallets[i%len(wallets)], i)
	}
	// What the last of each writes is what the bare store will have to write for all the others.
	refreshed := written(t, service, refreshes[n].request)
	loggedIn := written(t, service, logins[n].request)
	service.Stop(t)
	auth := startAuth(t, binary, service,
		"AUTH_PUBLIC_URL=https://"+siteHost, "AUTH_PROVIDERS__ETH_WALLET=true", "AUTH_PROVIDERS__USER_PASSWORD=true",
		"AUTH_SECURITY__RATE_LIMIT__RATE_LIMIT_RPM=0", "MERO_AUTH_ADMIN_USER="+adminName, "MERO_AUTH_ADMIN_PASSWORD="+adminPassword)
	rows := append(
		versusBatch(t, e, auth, "refreshes", "two HMACs", refreshes[:n], refreshed),
		versusBatch(t, e, auth, "Ethereum logins", "a recovery", logins[:n], loggedIn)...)
	return append(rows, passwords(t, e, auth, service.Config.UserPassword)...)
}

func post(path string, body any) []byte {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings and numbers
	}
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, siteHost, len(raw), raw)
}

func logInBy(method, name string, data map[string]string) []byte {
	return post("/auth/token", map[string]any{
		"auth_method": method, "public_key": name, "client_name": "bench", "timestamp": 0, "provider_data": data,
	})
}

// refreshOf returns the refresh of a session. It takes two signature checks, of the refresh token and of the expired
// access token.
func refreshOf(t *testing.T, session authtest.Token) operation {
	t.Helper()
	key := make([]byte, 32)
	return operation{
		request: post("/auth/refresh", map[string]string{"access_token": session.Access, "refresh_token": session.Refresh}),
		check: func() error {
			for _, text := range []string{session.Refresh, session.Access} {
				mac := hmac.New(sha256.New, key)
				mac.Write([]byte(text))
				if hmac.Equal(mac.Sum(nil), key) {
					return errors.New("a MAC of zeros")
				}
			}
			return nil
		},
	}
}

// loginOf returns the i-th login of a wallet, with a challenge of its own.
func loginOf(t *testing.T, service *authtest.Service, wallet ethtest.Wallet, i int) operation {
	t.Helper()
	now := time.Now()
	issued := token.Challenge{ID: fmt.Sprintf("%032x", i), Nonce: make([]byte, 32), IssuedAt: now.Unix(), Expires: now.Add(5 * time.Minute).Unix()}
	challenge, err := service.Issuer.Tokens.SignChallenge(issued)
	if err != nil {
		t.Fatal(err)
	}
	message := siteHost + " wants you to sign in with your Ethereum account:\n" + wallet.Address + "\n\n\nURI: https://" + siteHost + "/auth/login\n" +
		"Version: 1\nChain ID: 1\nNonce: " + issued.ID + "\nIssued At: " + now.UTC().Format(time.RFC3339)
	signature := wallet.Sign(t, message)
	return operation{
		request: logInBy("eth_wallet", wallet.Address, map[string]string{
			"wallet_address": wallet.Address, "message": message, "signature": signature, "challenge": challenge,
		}),
		check: func() error { return wallet.Check(message, signature) },
	}
}

// record is what an operation writes.
type record struct {
	bolttest.Record
	changed bool // it was there before
}

// written returns what a request writes.
func written(t *testing.T, service *authtest.Service, request []byte) (records []record) {
	t.Helper()
	before := everything(t, service.DB)
	if answer := authtest.Exchange(t, service.Addr, "", http.MethodPost, request); answer.Status != http.StatusOK {
		t.Fatalf("not an operation to measure: %v", answer)
	}
	for name, value := range everything(t, service.DB) {
		if old, there := before[name]; !there || !bytes.Equal(old, value) {
			records = append(records, record{bolttest.Record{Bucket: name[0], Key: name[1], Value: value}, there})
		}
	}
	return records
}

func everything(t *testing.T, db kv.DB) map[[2]string][]byte {
	t.Helper()
	all := map[[2]string][]byte{}
	err := db.View(t.Context(), func(tx kv.Tx) error {
		for _, bucket := range tx.Buckets() {
			for key, value := range tx.Scan(bucket, "") {
				all[[2]string{bucket, key}] = value
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// bareStore is a bbolt file that holds what so many operations will change. Its batches end at so many writers, with 0
// when bbolt's own wait is over.
func bareStore(t *testing.T, writers, n int, records []record) *bolttest.DB {
	t.Helper()
	db := bolttest.Open(t, writers)
	var there []bolttest.Record
	for i := range n {
		for _, r := range records {
			if r.changed {
				there = append(there, ofOperation(r, i))
			}
		}
	}
	if err := db.Batch(there); err != nil {
		t.Fatal(err)
	}
	return db
}

// ofOperation returns the record that the i-th operation writes in place of r: of the same size, at another place of the
// bucket. The records of bucket system are one for all operations.
func ofOperation(r record, i int) bolttest.Record {
	made := r.Record
	if r.Bucket != "system" {
		sum := sha256.Sum256([]byte(r.Bucket + strconv.Itoa(i)))
		made.Key = strings.Repeat(hex.EncodeToString(sum[:]), len(r.Key)/(2*len(sum))+1)[:len(r.Key)]
	}
	return made
}

// versusBatch puts the operations to the command, and in turns the same count of bare checks and writes to two bare
// stores: one whose batches are bbolt's, which wait 10 ms for company, and one whose batches go as soon as everybody in
// flight has come, which is all that a batch can do for these writers.
func versusBatch(t *testing.T, e effort, auth *process, name, check string, operations []operation, records []record) []row {
	t.Helper()
	stores := []*bolttest.DB{bareStore(t, 0, len(operations), records), bareStore(t, inFlight, len(operations), records)}
	clients := dial(t, auth.data, inFlight)
	var ours []float64
	theirs, ratios := make([][]float64, len(stores)), make([][]float64, len(stores))
	for turn := range e.turns {
		from := turn * e.writes
		spent := inParallel(t, e.writes, func(worker, i int) error { return clients.ask(worker, operations[from+i].request) })
		ours = append(ours, float64(e.writes)/spent.Seconds())
		for s, db := range stores {
			bare := inParallel(t, e.writes, func(_, i int) error {
				mine := make([]bolttest.Record, len(records))
				for j, r := range records {
					mine[j] = ofOperation(r, from+i)
				}
				return errors.Join(operations[from+i].check(), db.Batch(mine))
			})
			theirs[s] = append(theirs[s], float64(e.writes)/bare.Seconds())
			ratios[s] = append(ratios[s], bare.Seconds()/spent.Seconds())
		}
	}
	rate := median(ours)
	rowOf := func(s int, target, batch string) row {
		return row{
			fmt.Sprintf("%s, %d in flight", name, inFlight), fmt.Sprintf("%.2f (%.0f/s)", median(ratios[s]), rate), target,
			fmt.Sprintf("%s and %s of %d equal records, in process (%.0f/s)", check, batch, len(records), median(theirs[s])),
		}
	}
	return []row{rowOf(0, ">= 0.50", "bbolt Batch"), rowOf(1, "-", "bbolt Batch without its wait")}
}

// inParallel runs an operation n times, inFlight at a time, and returns the time that all took together.
func inParallel(t *testing.T, n int, operation func(worker, i int) error) time.Duration {
	t.Helper()
	errs := make([]error, inFlight)
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for worker := range inFlight {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && errs[worker] == nil; i = next.Add(1) - 1 {
				errs[worker] = operation(worker, int(i))
			}
		})
	}
	wg.Wait()
	spent := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return spent
}

// clients are connections to one server, each with its buffer for answers.
type clients struct {
	conns   []net.Conn
	buffers [][]byte
}

func dial(t *testing.T, addr string, n int) clients {
	t.Helper()
	var c clients
	for range n {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // nothing is pending
		c.conns, c.buffers = append(c.conns, conn), append(c.buffers, make([]byte, 16<<10))
	}
	return c
}

func (c clients) ask(worker int, request []byte) error {
	if _, err := c.conns[worker].Write(request); err != nil {
		return err
	}
	return readOK(c.conns[worker], c.buffers[worker])
}

// passwords measures logins with a password beside the hashes in them, as many at a time as the command computes.
func passwords(t *testing.T, e effort, auth *process, cost config.UserPassword) []row {
	t.Helper()
	request := logInBy("user_password", adminName, map[string]string{"username": adminName, "password": adminPassword})
	l := newLoad(t, auth.data, auth.cmd.Process.Pid, [][]byte{request})
	var ours, theirs []float64
	for range e.turns {
		ours = append(ours, l.run(t, e.turn).rate)
		theirs = append(theirs, hashes(e.turn, cost))
	}
	return []row{{
		fmt.Sprintf("password logins, %d in flight", connections), fmt.Sprintf("%.1f/s", median(ours)), "-",
		fmt.Sprintf("bare argon2id of %d KiB and %d passes (%.1f/s)", cost.MemoryKiB, cost.Iterations, median(theirs)),
	}}
}

// hashes returns how many password hashes a second all processors compute.
func hashes(d time.Duration, cost config.UserPassword) float64 {
	var n atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for first := true; first || time.Since(began) < d; first = false {
				argon2.IDKey([]byte(adminPassword), make([]byte, 16), cost.Iterations, cost.MemoryKiB, 1, 32)
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(began).Seconds()
}
