package proxy

import (
	"sync"
	"sync/atomic"
)

// handlers counts the requests that are being handled, for net/http waits for
// none of them when it is closed. What they use must outlive them.
type handlers struct {
	running atomic.Int64 // one more than there are, until close
	idle    chan struct{}
	once    sync.Once
}

func newHandlers() *handlers {
	h := &handlers{idle: make(chan struct{})}
	h.running.Store(1)
	return h
}

// enter counts a handler; false once all have ended after close.
func (h *handlers) enter() bool {
	for {
		n := h.running.Load()
		if n == 0 {
			return false
		}
		if h.running.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *handlers) leave() {
	if h.running.Add(-1) == 0 {
		close(h.idle)
	}
}

// close waits until no handler is running.
func (h *handlers) close() {
	h.once.Do(h.leave)
	<-h.idle
}
