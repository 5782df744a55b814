package authority

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func fill(t *testing.T, s *store, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := s.Store(t.Context(), key, []byte("value of "+key)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoreKeepsWhatCertmagicAsksFor(t *testing.T) {
	s, ctx := newStore(0), t.Context()
	fill(t, s, "a/b/1", "a/b/2", "a/bc/3", "a/b/d/4")
	for key, want := range map[string]bool{
		"a/b/1": true, "a/b": true, "a": true, "a/b/d": true, "a/bc/3": true,
		"a/b/3": false, "a/": false, "b": false, "a/b/1/2": false, "a/bc/": false,
	} {
		if got := s.Exists(ctx, key); got != want {
			t.Errorf("Exists(%q) is %v", key, got)
		}
	}
	if value, err := s.Load(ctx, "a/b/2"); err != nil || string(value) != "value of a/b/2" {
		t.Errorf("Load gives %q, %v", value, err)
	}
	if _, err := s.Load(ctx, "a/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a folder gives %v", err)
	}
	if info, err := s.Stat(ctx, "a/b/1"); err != nil || !info.IsTerminal || info.Size != int64(len("value of a/b/1")) {
		t.Errorf("Stat of a file gives %+v, %v", info, err)
	}
	if info, err := s.Stat(ctx, "a/b"); err != nil || info.IsTerminal {
		t.Errorf("Stat of a folder gives %+v, %v", info, err)
	}

	for _, test := range []struct {
		prefix    string
		recursive bool
		want      string
	}{
		{"a/b", false, "a/b/1 a/b/2 a/b/d"},
		{"a/b", true, "a/b/1 a/b/2 a/b/d a/b/d/4"},
		{"a", false, "a/b a/bc"},
		{"", false, "a"},
	} {
		got, err := s.List(ctx, test.prefix, test.recursive)
		slices.Sort(got)
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("List(%q, %v) gives %v, %v; want %s", test.prefix, test.recursive, got, err, test.want)
		}
	}
	if _, err := s.List(ctx, "x", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("List of nothing gives %v", err)
	}

	for _, key := range []string{"a/b", "a/b", "nothing"} { // deleting twice is no error
		if err := s.Delete(ctx, key); err != nil {
			t.Error(err)
		}
	}
	if s.Exists(ctx, "a/b") || !s.Exists(ctx, "a/bc/3") {
		t.Error("Delete of a/b took the wrong keys")
	}
	if err := s.Delete(ctx, "a/bc/3"); err != nil || len(s.folders) != 0 || s.oldest.Len() != 0 {
		t.Errorf("%d folders are left of nothing (%v)", len(s.folders), err)
	}
}

func TestStoreForgetsTheOldestFolderWhole(t *testing.T) {
	s := newStore(3)
	for n := range 100 {
		name := fmt.Sprintf("certificates/bearerd/host%d/", n)
		fill(t, s, name+"key", name+"crt", name+"json", "certificates/bearerd/busy/key")
		if len(s.folders) > 3 || s.oldest.Len() != len(s.folders) {
			t.Fatalf("%d folders, %d in order; want 3 at most", len(s.folders), s.oldest.Len())
		}
	}
	keys, err := s.List(t.Context(), "certificates/bearerd", false)
	slices.Sort(keys)
	want := []string{"certificates/bearerd/busy", "certificates/bearerd/host98", "certificates/bearerd/host99"}
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("%q is left, %v; want %q", keys, err, want)
	}
}

func TestStoreLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ctx := newStore(0), t.Context()
		lock := func(ctx context.Context, name string) <-chan error {
			done := make(chan error, 1)
			go func() { done <- s.Lock(ctx, name) }()
			synctest.Wait()
			return done
		}
		if err := <-lock(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if err := <-lock(ctx, "b"); err != nil {
			t.Fatal(err)
		}
		second := lock(ctx, "a")
		gone, cancel := context.WithCancel(ctx)
		third := lock(gone, "a")
		cancel()
		if err := <-third; !errors.Is(err, context.Canceled) {
			t.Errorf("a waiter whose context ended has %v", err)
		}
		if len(second) != 0 {
			t.Fatal("two hold one lock")
		}
		if err := s.Unlock(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil {
			t.Fatal(err)
		}

		closed := make(chan struct{})
		go func() { s.close(); close(closed) }()
		synctest.Wait()
		if err := s.Lock(ctx, "c"); !errors.Is(err, errClosed) {
			t.Errorf("a lock after close has %v", err)
		}
		for _, name := range []string{"a", "b"} {
			select {
			case <-closed:
				t.Errorf("close did not wait for %s", name)
			default:
			}
			if err := s.Unlock(ctx, name); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		<-closed
		if s.Unlock(ctx, "a") == nil {
			t.Error("unlocking twice is no error")
		}
	})
}
