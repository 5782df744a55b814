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

// replayBody lets one request body be sent a second time, where that is safe:
// it was not touched at all, or it ended within the spool.
//
// After an early answer http.Transport may still be reading the body on a
// goroutine of its own. So each attempt reads through a view of its own, and
// handing out the next view fences the last one off: it can neither steal a
// byte from its successor nor be mistaken for it.
type replayBody struct {
	received atomic.Int64 // bytes read from the caller
	current  atomic.Pointer[bodyView]

	mu       sync.Mutex // guards what follows, and is held while src is read
	src      io.Reader
	budget   *spoolBudget
	reserved int64
	spool    []byte
	touched  bool
	whole    bool // src ended and spool holds all of it
	overflow bool // spool no longer holds all that was read
	onEOF    func()
}

// newReplayBody wraps src, whose length is known unless negative. A nil budget
// spools nothing: only an untouched body can then be sent again. onEOF runs
// when src has ended, before the reader learns of it.
func newReplayBody(src io.Reader, length int64, budget *spoolBudget, onEOF func()) *replayBody {
	b := &replayBody{src: src, onEOF: onEOF, overflow: true}
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

// next gives the body from its start for one more attempt, and false where
// that is not possible any more.
func (b *replayBody) next() (io.ReadCloser, bool) {
	// A reader in the middle of src holds the lock: the body is touched and
	// has not ended, so there is nothing to wait for.
	if !b.mu.TryLock() {
		return nil, false
	}
	defer b.mu.Unlock()
	if b.touched && !b.whole {
		return nil, false
	}
	v := &bodyView{body: b}
	b.current.Store(v)
	return v, true
}

// again is next in the form of http.Request's GetBody, by which the transport
// sends a call again whose connection had died in the pool.
func (b *replayBody) again() (io.ReadCloser, error) {
	if v, ok := b.next(); ok {
		return v, nil
	}
	return nil, errFenced
}

// release fences every view off and gives the spool back.
func (b *replayBody) release() {
	b.current.Store(nil)
	if b.budget != nil {
		b.budget.free.Add(b.reserved)
		b.budget = nil
	}
}

// bodyView is one attempt's reader of a replayBody.
type bodyView struct {
	body *replayBody
	off  int // into the spool, for what an earlier attempt had read
}

// Read implements io.Reader.
func (v *bodyView) Read(p []byte) (int, error) {
	b := v.body
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current.Load() != v {
		return 0, errFenced
	}
	if b.whole {
		n := copy(p, b.spool[v.off:])
		v.off += n
		if v.off == len(b.spool) {
			return n, io.EOF
		}
		return n, nil
	}
	b.touched = true
	n, err := b.src.Read(p)
	b.received.Add(int64(n))
	b.keepLocked(p[:n])
	v.off += n
	if err == io.EOF {
		b.whole = !b.overflow
		if b.onEOF != nil {
			b.onEOF()
			b.onEOF = nil
		}
	}
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
