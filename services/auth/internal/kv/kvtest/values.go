package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/calimero-network/mero-go/services/auth/internal/kv"
)

var valueTests = []test{
	{"round trip", testRoundTrip},
	{"missing keys are ErrNotFound", testMissing},
	{"nil deletes", testDelete},
	{"an empty value is stored", testEmptyValue},
	{"buckets do not share keys", testBuckets},
	{"all byte values in keys and values", testBinary},
	{"large values", testLargeValues},
	{"many keys", testManyKeys},
	{"key length limits", testKeyLimits},
	{"slices are copies", testCopies},
}

func testRoundTrip(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "one"}, pair{"l", "two"})
	wantValue(t, db, "b", "k", "one")
	put(t, db, "b", pair{"k", "a longer value than before"})
	wantValue(t, db, "b", "k", "a longer value than before")
	wantValue(t, db, "b", "l", "two")
}

func testMissing(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"})
	for _, at := range []struct{ bucket, key string }{
		{"b", "absent"}, {"b", "k\x00"}, {"b", ""}, {"absent", "k"}, {"", "k"}, {"", ""},
	} {
		check := func(tx kv.Tx) error {
			if v, err := tx.Get(at.bucket, at.key); !errors.Is(err, kv.ErrNotFound) || v != nil {
				t.Errorf("Get(%q, %q) = %q, %v, want nil, ErrNotFound", at.bucket, at.key, v, err)
			}
			return nil
		}
		view(t, db, check)
		update(t, db, check)
	}
}

func testDelete(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", "v"}, pair{"l", "w"})
	update(t, db, func(tx kv.Tx) error {
		return errors.Join(tx.Put("b", "k", nil), tx.Put("b", "absent", nil), tx.Put("absent", "k", nil))
	})
	wantAbsent(t, db, "b", "k")
	wantAbsent(t, db, "b", "absent")
	wantScan(t, db, "b", "", pair{"l", "w"})
	wantScan(t, db, "absent", "")
	put(t, db, "b", pair{"k", "again"})
	wantScan(t, db, "b", "", pair{"k", "again"}, pair{"l", "w"})
}

func testEmptyValue(t *testing.T, db kv.DB) {
	put(t, db, "b", pair{"k", ""})
	check := func(tx kv.Tx) error {
		v, err := tx.Get("b", "k")
		if err != nil || v == nil || len(v) != 0 {
			t.Errorf("Get of an empty value = %#v, %v, want []byte{}, nil", v, err)
		}
		for k, v := range tx.Scan("b", "") {
			if k != "k" || v == nil || len(v) != 0 {
				t.Errorf("Scan yields %q, %#v, want \"k\", []byte{}", k, v)
			}
		}
		return nil
	}
	view(t, db, check)
	update(t, db, check)
	update(t, db, func(tx kv.Tx) error {
		if err := tx.Put("b", "fresh", []byte{}); err != nil {
			return err
		}
		if v, err := tx.Get("b", "fresh"); err != nil || v == nil {
			t.Errorf("Get of an empty value of the same transaction = %#v, %v", v, err)
		}
		return nil
	})
}

func testBuckets(t *testing.T, db kv.DB) {
	const n = 50
	update(t, db, func(tx kv.Tx) error {
		for i := range n {
			if err := tx.Put(fmt.Sprintf("bucket-%d", i), "k", fmt.Append(nil, i)); err != nil {
				return err
			}
		}
		return nil
	})
	put(t, db, "bucket", pair{"-1", "not in bucket-1"})
	for i := range n {
		wantScan(t, db, fmt.Sprintf("bucket-%d", i), "", pair{"k", strconv.Itoa(i)})
	}
	update(t, db, func(tx kv.Tx) error { return tx.Put("bucket-7", "k", nil) })
	wantAbsent(t, db, "bucket-7", "k")
	wantValue(t, db, "bucket-8", "k", "8")
}

func testBinary(t *testing.T, db kv.DB) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	var want []pair
	for b := range 256 {
		want = append(want, pair{string([]byte{byte(b)}), string(all)})
	}
	put(t, db, string(all), want...)
	wantScan(t, db, string(all), "", want...)
	wantValue(t, db, string(all), "\x00", string(all))
	wantValue(t, db, string(all), "\xff", string(all))
}

func testLargeValues(t *testing.T, db kv.DB) {
	large := strings.Repeat("0123456789abcdef", 3<<20/16)
	put(t, db, "b", pair{"a", "before"}, pair{"large", large}, pair{"z", "after"})
	wantValue(t, db, "b", "large", large)
	wantScan(t, db, "b", "", pair{"a", "before"}, pair{"large", large}, pair{"z", "after"})
	put(t, db, "b", pair{"large", "small"})
	wantScan(t, db, "b", "", pair{"a", "before"}, pair{"large", "small"}, pair{"z", "after"})
}

func testManyKeys(t *testing.T, db kv.DB) {
	const n = 5000
	var want []pair
	for i := range n {
		want = append(want, pair{fmt.Sprintf("%06d", i), strings.Repeat("v", i%50)})
	}
	update(t, db, func(tx kv.Tx) error {
		// 7919 is prime and so visits every index once, in no order that a tree likes.
		for i := range n {
			p := want[i*7919%n]
			if err := tx.Put("b", p.key, []byte(p.value)); err != nil {
				return err
			}
		}
		return nil
	})
	wantScan(t, db, "b", "", want...)
	wantScan(t, db, "b", "0049", want[4900:5000]...)

	var odd []pair
	update(t, db, func(tx kv.Tx) error {
		odd = nil
		for i, p := range want {
			if i%2 == 1 {
				odd = append(odd, p)
				continue
			}
			if err := tx.Put("b", p.key, nil); err != nil {
				return err
			}
		}
		return nil
	})
	wantScan(t, db, "b", "", odd...)
	wantAbsent(t, db, "b", "000100")
	wantValue(t, db, "b", "000101", odd[50].value)
}

func testKeyLimits(t *testing.T, db kv.DB) {
	longest := strings.Repeat("k", kv.MaxKeySize)
	update(t, db, func(tx kv.Tx) error {
		for _, at := range []struct{ bucket, key string }{
			{"", "k"}, {"b", ""}, {"b", longest + "k"}, {longest + "b", "k"},
		} {
			for _, value := range [][]byte{[]byte("v"), nil} {
				if err := tx.Put(at.bucket, at.key, value); !errors.Is(err, kv.ErrKey) {
					t.Errorf("Put with a bucket of %d and a key of %d bytes: %v, want ErrKey", len(at.bucket), len(at.key), err)
				}
			}
		}
		return errors.Join(tx.Put("b", longest, []byte("v")), tx.Put(longest, "k", []byte("w")))
	})
	wantValue(t, db, "b", longest, "v")
	wantValue(t, db, longest, "k", "w")
	wantAbsent(t, db, "b", longest+"k")
}

func testCopies(t *testing.T, db kv.DB) {
	given := []byte("value")
	update(t, db, func(tx kv.Tx) error {
		copy(given, "value")
		if err := tx.Put("b", "k", given); err != nil {
			return err
		}
		copy(given, "-----") // the store must have taken a copy
		got, err := tx.Get("b", "k")
		if err != nil || !bytes.Equal(got, []byte("value")) {
			t.Errorf("Get in the same transaction = %q, %v, want \"value\"", got, err)
		}
		copy(got, "YYYYY")
		for _, v := range tx.Scan("b", "") {
			copy(v, "ZZZZZ")
		}
		return nil
	})
	wantValue(t, db, "b", "k", "value")

	var got, scanned []byte
	view(t, db, func(tx kv.Tx) (err error) {
		got, err = tx.Get("b", "k")
		for _, v := range tx.Scan("b", "") {
			scanned = v
		}
		return err
	})
	put(t, db, "b", pair{"k", "other"})
	if string(got) != "value" || string(scanned) != "value" {
		t.Errorf("after the transaction Get's slice = %q and Scan's = %q, want \"value\"", got, scanned)
	}
	copy(got, "YYYYY")
	copy(scanned, "ZZZZZ")
	wantValue(t, db, "b", "k", "other")
}
