package proxy

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return string(b)
}

func TestBodyIsReplayedOnceItEndedWithinTheSpool(t *testing.T) {
	budget := newSpoolBudget(16, 16)
	for name, length := range map[string]int64{"known length": 5, "unknown length": -1} {
		t.Run(name, func(t *testing.T) {
			b := newReplayBody(strings.NewReader("hello"), length, budget, nil)
			defer b.release()
			first, _ := b.next()
			if got := readAll(t, first); got != "hello" {
				t.Fatalf("first attempt read %q", got)
			}
			second, ok := b.next()
			if !ok {
				t.Fatal("a spooled body was not replayed")
			}
			if got := readAll(t, second); got != "hello" {
				t.Errorf("second attempt read %q", got)
			}
			if got := b.received.Load(); got != 5 {
				t.Errorf("counted %d bytes from the caller, want 5: a replay is not received twice", got)
			}
		})
	}
	if free := budget.free.Load(); free != 16 {
		t.Errorf("%d bytes of the budget are free after all bodies were released, want 16", free)
	}
}

func TestUntouchedBodyIsReplayedWhateverItsLength(t *testing.T) {
	for _, budget := range []*spoolBudget{nil, newSpoolBudget(1, 1)} {
		b := newReplayBody(strings.NewReader("a long body"), 11, budget, nil)
		stale, _ := b.next()
		fresh, ok := b.next()
		if !ok {
			t.Fatal("an untouched body was not handed out again")
		}
		if _, err := stale.Read(make([]byte, 4)); !errors.Is(err, errFenced) {
			t.Errorf("the fenced reader got %v, want errFenced", err)
		}
		if got := readAll(t, fresh); got != "a long body" {
			t.Errorf("the second attempt read %q; the first has stolen from it", got)
		}
		b.release()
	}
}

func TestBodyIsNotReplayed(t *testing.T) {
	tests := map[string]struct {
		budget *spoolBudget
		read   int // bytes that the first attempt reads
	}{
		"when it is larger than a spool":  {newSpoolBudget(4, 64), 11},
		"when all spools together are":    {newSpoolBudget(64, 4), 11},
		"when nothing may be spooled":     {nil, 11},
		"when it filled the spool midway": {newSpoolBudget(8, 64), 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newReplayBody(strings.NewReader("a long body"), -1, tt.budget, nil)
			defer b.release()
			first, _ := b.next()
			if _, err := io.ReadFull(first, make([]byte, tt.read)); err != nil {
				t.Fatal(err)
			}
			if _, ok := b.next(); ok {
				t.Fatal("a second attempt was given a body that cannot be whole")
			}
			if rest := readAll(t, first); rest != "a long body"[tt.read:] {
				t.Errorf("the first attempt went on with %q", rest)
			}
		})
	}
}

func TestBodyIsReplayedFromTheMiddle(t *testing.T) {
	for _, read := range []int{3, 11} { // the latter before its end was seen
		b := newReplayBody(strings.NewReader("a long body"), -1, newSpoolBudget(64, 64), nil)
		first, _ := b.next()
		if _, err := io.ReadFull(first, make([]byte, read)); err != nil {
			t.Fatal(err)
		}
		second, ok := b.next()
		if !ok {
			t.Fatalf("not replayed after %d bytes, all of which are in the spool", read)
		}
		if got := readAll(t, second); got != "a long body" {
			t.Errorf("after %d bytes the second attempt read %q", read, got)
		}
		if _, err := first.Read(make([]byte, 1)); !errors.Is(err, errFenced) {
			t.Errorf("the fenced reader got %v, want errFenced", err)
		}
		b.release()
	}
}

// sender is a body that comes in pieces, each when it is sent.
type sender struct {
	entered chan struct{} // a read has begun
	pieces  chan string   // closed at the end
}

func (s sender) Read(p []byte) (int, error) {
	s.entered <- struct{}{}
	piece, ok := <-s.pieces
	if !ok {
		return 0, io.EOF
	}
	return copy(p, piece), nil
}

func TestReaderThatIsFencedInTheMiddleOfAReadLosesNothing(t *testing.T) {
	src := sender{make(chan struct{}), make(chan string)}
	// The spool is full before the piece comes that the fenced reader waits for.
	b := newReplayBody(src, -1, newSpoolBudget(4, 4), nil)
	defer b.release()
	first, _ := b.next()
	fenced := make(chan error)
	go func() {
		_, err := io.ReadAll(first)
		fenced <- err
	}()
	<-src.entered
	src.pieces <- "abcd"
	<-src.entered
	second, ok := b.next()
	if !ok {
		t.Fatal("a body was not replayed, though all that was read is in the spool")
	}
	got := make(chan string)
	go func() {
		text, _ := io.ReadAll(second)
		got <- string(text)
	}()
	src.pieces <- "efgh" // for the fenced reader
	if err := <-fenced; !errors.Is(err, errFenced) {
		t.Errorf("the fenced reader got %v, want errFenced", err)
	}
	<-src.entered
	src.pieces <- "ij"
	<-src.entered
	close(src.pieces)
	if text := <-got; text != "abcdefghij" {
		t.Errorf("the second attempt read %q", text)
	}
}

func TestReleaseEndsEveryReader(t *testing.T) {
	src := sender{make(chan struct{}), make(chan string)}
	b := newReplayBody(src, -1, newSpoolBudget(64, 64), nil)
	first, _ := b.next()
	ended := make(chan error, 2)
	read := func(r io.Reader) {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}
	go read(first)
	<-src.entered
	second, _ := b.next()
	go read(second) // waits for the first
	b.release()
	if err := <-ended; !errors.Is(err, errFenced) {
		t.Errorf("the reader that waited got %v, want errFenced", err)
	}
	close(src.pieces)
	if err := <-ended; !errors.Is(err, errFenced) {
		t.Errorf("the reader under way got %v, want errFenced", err)
	}
}

func TestEndOfBodyIsToldBeforeTheReaderLearnsOfIt(t *testing.T) {
	told := 0
	b := newReplayBody(strings.NewReader("x"), 1, newSpoolBudget(8, 8), func() { told++ })
	first, _ := b.next()
	readAll(t, first)
	second, _ := b.next()
	readAll(t, second)
	if told != 1 {
		t.Errorf("the end was told %d times, want once", told)
	}
}
