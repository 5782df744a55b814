package proxy

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errFenced is what a reader of a request body gets once the body has been
// taken from it.
var errFenced = errors.New("proxy: the request body was handed to another attempt")

// spoolBudget bounds the memory that the spools of all requests hold together.
type spoolBudget struct {
	perRequest int64
	free       atomic.Int64
}

func newSpoolBudget(perRequest, total int64) *spoolBudget {
	b := &spoolBudget{perRequest: perRequest}
	b.free.Store(total)
	return b
}

// reserve takes n bytes from the budget, or none.
func (b *spoolBudget) reserve(n int64) bool {
	if b.free.Add(-n) >= 0 {
		return true
	}
	b.free.Add(n)
	return false
}

// giveBack returns n bytes that were reserved.
func (b *spoolBudget) giveBack(n int64) { b.free.Add(n) }

// requestBody is the body of a call that may be sent more than once.
type requestBody interface {
	// next gives the body from its start for one more attempt, and false where
	// that is not possible any more.
	next() (io.ReadCloser, bool)
	// again is next in the form of http.Request's GetBody, by which the transport
	// sends a call again whose connection had died in the pool.
	again() (io.ReadCloser, error)
	taken() int64 // bytes read from the caller
	release()     // gives the memory back; no attempt may begin afterwards
}

// replayBody lets one request body be sent a second time, where that is safe:
// it was not touched at all, or the spool holds all that was read of it.
//
// After an early answer http.Transport may still be reading the body on a
// goroutine of its own. So each attempt reads through a view of its own, and
// handing out the next view fences the last one off. A fenced reader that is in
// the middle of a read leaves what that brings in the spool: it can neither
// steal a byte from its successor nor be mistaken for it.
type replayBody struct {
	received atomic.Int64 // bytes read from the caller

	mu       sync.Mutex // guards what follows; not held while src is read
	idle     sync.Cond  // nobody reads src any more
	src      io.Reader  // read by one view at a time
	reading  bool
	current  *bodyView // nil after release
	budget   *spoolBudget
	reserved int64
	spool    []byte
	touched  bool
	overflow bool  // spool does not hold all that was read
	end      error // of src: io.EOF, or what broke it off; nil while it goes on
	onEOF    func()
}

// newReplayBody wraps src, whose length is known unless negative. A nil budget
// spools nothing: only an untouched body can then be sent again. onEOF runs
// when src has ended, before the reader learns of it.
func newReplayBody(src io.Reader, length int64, budget *spoolBudget, onEOF func()) *replayBody {
	b := &replayBody{src: src, onEOF: onEOF, overflow: true}
	b.idle.L = &b.mu
	if budget == nil || length > budget.perRequest {
		return b
	}
	want := length
	if want < 0 {
		want = budget.perRequest
	}
	if budget.reserve(want) {
		b.budget, b.reserved, b.overflow = budget, want, false
	}
	return b
}

// next implements requestBody.
func (b *replayBody) next() (io.ReadCloser, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.touched && b.overflow {
		return nil, false
	}
	b.current = &bodyView{body: b}
	return b.current, true
}

// again implements requestBody.
func (b *replayBody) again() (io.ReadCloser, error) {
	if v, ok := b.next(); ok {
		return v, nil
	}
	return nil, errFenced
}

// taken implements requestBody.
func (b *replayBody) taken() int64 { return b.received.Load() }

// release fences every view off and gives the spool back.
func (b *replayBody) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current, b.spool, b.overflow = nil, nil, true
	b.idle.Broadcast()
	if b.budget != nil {
		b.budget.giveBack(b.reserved)
		b.budget = nil
	}
}

// bodyView is one attempt's reader of a replayBody.
type bodyView struct {
	body *replayBody
	off  int // into the spool
}

// Read implements io.Reader.
func (v *bodyView) Read(p []byte) (int, error) {
	b := v.body
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.current != v:
			return 0, errFenced
		case v.off < len(b.spool):
			n := copy(p, b.spool[v.off:])
			v.off += n
			return n, nil
		case b.end != nil:
			return 0, b.end
		case !b.reading:
			return b.readLocked(v, p)
		}
		b.idle.Wait() // for a reader that was fenced off in the middle of a read
	}
}

// readLocked reads src on behalf of v, without the lock meanwhile.
func (b *replayBody) readLocked(v *bodyView, p []byte) (int, error) {
	b.reading, b.touched = true, true
	b.mu.Unlock()
	n, err := b.src.Read(p)
	b.mu.Lock()
	b.reading = false
	b.idle.Broadcast()
	b.received.Add(int64(n))
	if b.end = err; err == io.EOF && b.onEOF != nil {
		b.onEOF()
		b.onEOF = nil
	}
	if b.current != v {
		if !b.overflow { // the successor reads it from there, though the spool be full
			b.spool = append(b.spool, p[:n]...)
		}
		return 0, errFenced
	}
	b.keepLocked(p[:n])
	v.off += n
	return n, err
}

// keepLocked remembers what was read as long as the spool has room.
func (b *replayBody) keepLocked(p []byte) {
	if b.overflow {
		return
	}
	if int64(len(b.spool)+len(p)) > b.reserved {
		b.spool, b.overflow = nil, true
		return
	}
	b.spool = append(b.spool, p...)
}

// Close implements io.Closer. The source belongs to the server, which closes
// it when the handler returns: an attempt that ends must leave it readable for
// the next one.
func (v *bodyView) Close() error { return nil }
