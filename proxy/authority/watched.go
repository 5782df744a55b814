package authority

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// watchInterval is the least time between two looks at watched files.
const watchInterval = time.Second

// watched is what some files say, read again once they change. Nobody is woken
// for that: whoever asks looks, at most every watchInterval, and gets the value
// at hand while another one looks. It is safe for concurrent use.
type watched[T any] struct {
	paths []string
	read  func() (T, error)
	log   *zap.Logger

	turn    sync.Mutex                 // held by the one who looks; guards looked and stamps
	looked  time.Time                  // last
	stamps  []fileStamp                // of the files that value was read from
	current atomic.Pointer[content[T]] // replaced, never changed
}

type content[T any] struct {
	value T
	err   error // of the last reading; value is then an earlier one's
}

// fileStamp tells one content of a file from another: tools replace files by
// others, or write into them.
type fileStamp struct {
	size     int64
	modified time.Time
	info     os.FileInfo // of the very file; nil: there is none
}

func (a fileStamp) same(b fileStamp) bool {
	if a.info == nil || b.info == nil {
		return a.info == nil && b.info == nil
	}
	return a.size == b.size && a.modified.Equal(b.modified) && os.SameFile(a.info, b.info)
}

// watch reads the files for the first time.
func watch[T any](log *zap.Logger, read func() (T, error), paths ...string) (*watched[T], error) {
	w := &watched[T]{paths: paths, read: read, log: log}
	stamps := w.stampAll()
	value, err := read()
	if err != nil {
		return nil, err
	}
	w.stamps, w.looked = stamps, time.Now()
	w.current.Store(&content[T]{value: value})
	return w, nil
}

// get gives what the files say, or said when they could last be read.
func (w *watched[T]) get() *content[T] {
	if w.turn.TryLock() {
		defer w.turn.Unlock()
		if now := time.Now(); now.Sub(w.looked) >= watchInterval {
			w.lookLocked()
			w.looked = now
		}
	}
	return w.current.Load()
}

func (w *watched[T]) lookLocked() {
	stamps := w.stampAll()
	before := w.current.Load()
	changed := false
	for i := range stamps {
		changed = changed || !stamps[i].same(w.stamps[i])
	}
	// After a failure the files are read again in any case: what was wrong may
	// be another's right to read them.
	if !changed && before.err == nil {
		return
	}
	value, err := w.read()
	w.stamps = stamps
	switch {
	case err == nil:
		w.current.Store(&content[T]{value: value})
		w.log.Info("files were read anew", zap.Strings("files", w.paths))
	case before.err == nil || before.err.Error() != err.Error():
		w.current.Store(&content[T]{value: before.value, err: err})
		w.log.Error("files have changed and cannot be used; what they said before holds", zap.Strings("files", w.paths), zap.Error(err))
	}
}

func (w *watched[T]) stampAll() []fileStamp {
	stamps := make([]fileStamp, len(w.paths))
	for i, path := range w.paths {
		// What keeps a file from being looked at keeps it from being read, which
		// says so.
		if info, err := os.Stat(path); err == nil {
			stamps[i] = fileStamp{size: info.Size(), modified: info.ModTime(), info: info}
		}
	}
	return stamps
}
