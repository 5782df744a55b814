package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
)

var (
	errTooLong = errors.New("proxy: the body is too long to be held")
	errNoRoom  = errors.New("proxy: the spools of other requests leave no room")
)

const (
	holdStep  = 64 << 10    // what a body under way is given room for at a time
	retryBusy = time.Second // after which another body may have gone
)

// heldBody is a request body that was read whole, and what is sent in its place:
// pieces of it and what stands between them. All of it is taken from the budget
// of the spools. Each attempt has a reader of its own, so that nothing has to be
// fenced off.
type heldBody struct {
	budget   *spoolBudget
	reserved int64
	text     []byte // as it came
	pieces   [][]byte
	size     int64 // of the pieces together
	between  int64 // of it, what text does not hold
}

// fill reads src, of which length bytes are to come, unless negative.
func (h *heldBody) fill(src io.Reader, length int64) error {
	if length > azure.MaxBatch {
		return errTooLong
	}
	for {
		room := int64(cap(h.text) - len(h.text))
		if room == 0 {
			// One byte past the end shows that nothing follows.
			step := max(holdStep, int64(cap(h.text)))
			if length >= 0 {
				step = min(step, length+1-int64(len(h.text)))
			}
			if step = min(step, azure.MaxBatch+1-int64(len(h.text))); step <= 0 {
				return errTooLong
			}
			if !h.reserve(step) {
				return errNoRoom
			}
			h.text = append(make([]byte, 0, int64(len(h.text))+step), h.text...)
		}
		n, err := src.Read(h.text[len(h.text):cap(h.text)])
		h.text = h.text[:len(h.text)+n]
		if err == io.EOF {
			h.pieces, h.size = [][]byte{h.text}, int64(len(h.text))
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (h *heldBody) reserve(n int64) bool {
	if !h.budget.reserve(n) {
		return false
	}
	h.reserved += n
	return true
}

// hold reads what the caller sends into memory that all callers share. The attack
// is a body that never ends, and keeps its share from everybody else.
func (x *exchange) hold(read func() error) *problem {
	caller := http.NewResponseController(x.w)
	// A writer that cannot do it is no server's, and nobody waits for its caller.
	_ = caller.SetReadDeadline(time.Now().Add(x.s.heldTimeout))
	switch err := read(); {
	case err == nil:
		_ = caller.SetReadDeadline(time.Time{})
		return nil
	case err == errTooLong:
		return problemf(http.StatusRequestEntityTooLarge, CodeBadBatch, "the batch is longer than the %d bytes that services take; send several", azure.MaxBatch)
	case err == errNoRoom:
		return busy()
	case isTimeout(err):
		if x.r.ProtoMajor == 1 {
			x.w.Header().Set("Connection", "close") // what may follow is the body's rest
		}
		return problemf(http.StatusRequestTimeout, CodeBusy, "the body, which is held until it is whole, did not come within %v; send it without a pause", x.s.heldTimeout)
	default:
		return clientGone(err)
	}
}

// replace has other pieces sent; false where there is no room for what text does
// not hold of them.
func (h *heldBody) replace(pieces [][]byte) bool {
	var size int64
	for _, piece := range pieces {
		size += int64(len(piece))
	}
	// What is replaced is not subtracted: it is still held.
	between := max(0, size-int64(len(h.text)))
	if between > h.between && !h.reserve(between-h.between) {
		return false
	}
	h.pieces, h.size, h.between = pieces, size, max(between, h.between)
	return true
}

// next implements requestBody.
func (h *heldBody) next() (io.ReadCloser, bool) {
	readers := make([]io.Reader, len(h.pieces))
	for i, piece := range h.pieces {
		readers[i] = bytes.NewReader(piece)
	}
	return io.NopCloser(io.MultiReader(readers...)), true
}

// again implements requestBody.
func (h *heldBody) again() (io.ReadCloser, error) {
	body, _ := h.next()
	return body, nil
}

// taken implements requestBody.
func (h *heldBody) taken() int64 { return int64(len(h.text)) }

// release implements requestBody.
func (h *heldBody) release() {
	h.budget.giveBack(h.reserved)
	h.reserved = 0
}
