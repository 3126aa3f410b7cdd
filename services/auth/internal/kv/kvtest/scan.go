package kvtest

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

var scanTests = []test{
	{"scan in byte order", testScanOrder},
	{"scan prefix edges", testScanPrefix},
	{"scan stops when told", testScanBreak},
	{"scan sees the transaction's own writes", testScanOwnWrites},
	{"scans nest", testScanNested},
	{"a scanned bucket cannot be written", testScanWrite},
	{"buckets that hold a key", testBucketNames},
}

func testScanOrder(t *testing.T, db kv.DB) {
	keys := []string{"b", "a", "ab", "a\x00", "A", "\x00", "\xff", "a\xff", "\u00e9", "10", "9", "a b"}
	for i, k := range keys {
		put(t, db, "b", pair{k, strconv.Itoa(i)})
	}
	slices.Sort(keys)
	var got []string
	view(t, db, func(tx kv.Tx) error {
		got = nil
		for k := range tx.Scan("b", "") {
			got = append(got, k)
		}
		return nil
	})
	if !slices.Equal(got, keys) {
		t.Errorf("Scan order = %q, want %q", got, keys)
	}
}

func testScanPrefix(t *testing.T, db kv.DB) {
	all := []pair{
		{"a", "0"},
		{"a:", "1"},
		{"a:1", "2"},
		{"a:1:x", "3"},
		{"a;", "4"},
		{"a\xff", "5"},
		{"a\xff\xff", "6"},
		{"a\xff\xff\x01", "7"},
		{"b", "8"},
		{"\xff", "9"},
		{"\xff\x00", "10"},
		{"\xff\xff", "11"},
	}
	put(t, db, "b", all...)
	for _, tt := range []struct {
		prefix string
		want   []pair
	}{
		{"", all},
		{"a", all[:8]},
		{"a:", all[1:4]},
		{"a:1:x", all[3:4]},
		{"a:1:xx", nil},
		{"a\xff", all[5:8]},
		{"a\xff\xff", all[6:8]},
		{"\xff", all[9:]},
		{"\xff\xff", all[11:]},
		{"\xff\xff\xff", nil},
		{"c", nil},
		{"\x00", nil},
	} {
		wantScan(t, db, "b", tt.prefix, tt.want...)
	}
	wantScan(t, db, "absent", "")
	wantScan(t, db, "", "")
}

func testScanBreak(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"a", "1"}, pair{"b", "2"}, pair{"c", "3"})
	view(t, db, func(tx kv.Tx) error {
		scan := tx.Scan("b", "")
		for round := range 2 { // a Seq2 can be ranged over again
			var got []string
			for k := range scan {
				got = append(got, k)
				if k == "b" {
					break
				}
			}
			if !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("round %d: keys until the break = %q, want a, b", round, got)
			}
		}
		return nil
	})
}

func testScanOwnWrites(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"a", "old"}, pair{"c", "gone"}, pair{"e", "kept"})
	update(t, db, func(tx kv.Tx) error {
		err := errors.Join(tx.Put("b", "a", []byte("new")), tx.Put("b", "b", []byte("added")), tx.Put("b", "c", nil))
		got, want := scan(tx, "b", ""), []pair{{"a", "new"}, {"b", "added"}, {"e", "kept"}}
		if !slices.Equal(got, want) {
			t.Errorf("Scan after writes = %q, want %q", got, want)
		}
		return err
	})
	wantScan(t, db, "b", "", pair{"a", "new"}, pair{"b", "added"}, pair{"e", "kept"})
}

func testScanNested(t *testing.T, db kv.DB) {
	put(t, db, "x", pair{"1", ""}, pair{"2", ""})
	put(t, db, "y", pair{"a", ""}, pair{"b", ""})
	var got []string
	view(t, db, func(tx kv.Tx) error {
		got = nil
		for k := range tx.Scan("x", "") {
			for l := range tx.Scan("y", "") {
				for m := range tx.Scan("x", "2") {
					got = append(got, k+l+m)
				}
			}
		}
		return nil
	})
	if want := []string{"1a2", "1b2", "2a2", "2b2"}; !slices.Equal(got, want) {
		t.Errorf("nested scans = %q, want %q", got, want)
	}
}

func testScanWrite(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"a", "1"}, pair{"c", "3"})
	update(t, db, func(tx kv.Tx) error {
		var steps []string
		for k := range tx.Scan("b", "") {
			steps = append(steps, k)
			for _, value := range [][]byte{[]byte("v"), nil} {
				if err := tx.Put("b", "b", value); !errors.Is(err, kv.ErrScanning) {
					t.Errorf("Put into the scanned bucket: %v, want ErrScanning", err)
				}
			}
			if err := tx.Put("other", k, []byte("v")); err != nil {
				t.Errorf("Put into another bucket: %v", err)
			}
			if k == "c" {
				break
			}
		}
		if !slices.Equal(steps, []string{"a", "c"}) {
			t.Errorf("scanned %q, want a, c", steps)
		}
		return tx.Put("b", "b", []byte("after the loop"))
	})
	wantScan(t, db, "b", "", pair{"a", "1"}, pair{"b", "after the loop"}, pair{"c", "3"})
	wantScan(t, db, "other", "", pair{"a", "v"}, pair{"c", "v"})
}

func testBucketNames(t *testing.T, db kv.DB) {
	buckets := func(tx kv.Tx, when string, want ...string) {
		t.Helper()
		if got := tx.Buckets(); !slices.Equal(got, want) {
			t.Errorf("%s: Buckets = %q, want %q", when, got, want)
		}
	}
	view(t, db, func(tx kv.Tx) error {
		buckets(tx, "empty store")
		return nil
	})
	put(t, db, "b", pair{"k", "1"})
	put(t, db, "a", pair{"k", ""})
	put(t, db, "a\x00", pair{"k", "2"})
	put(t, db, "gone", pair{"k", "3"})
	var ended kv.Tx
	update(t, db, func(tx kv.Tx) error {
		buckets(tx, "stored", "a", "a\x00", "b", "gone")
		if err := errors.Join(tx.Put("gone", "k", nil), tx.Put("new", "k", []byte("4"))); err != nil {
			return err
		}
		buckets(tx, "with the transaction's own writes", "a", "a\x00", "b", "new")
		return nil
	})
	view(t, db, func(tx kv.Tx) error {
		buckets(tx, "committed", "a", "a\x00", "b", "new")
		ended = tx
		return nil
	})
	buckets(ended, "after the end of the transaction")
}
