package audit

import (
	"time"

	"go.uber.org/zap"
)

// run writes until Close, and what is left then once more.
func (s *Stream) run() {
	defer close(s.done)
	defer s.sink.close()
	retry := firstRetry
	for {
		var again <-chan time.Time // nil: nothing failed
		wake := s.wake
		if s.flush() != nil {
			again, wake = time.After(retry), nil
			retry = min(2*retry, lastRetry)
		} else {
			retry = firstRetry
		}
		select {
		case <-wake:
		case <-again:
		case answer := <-s.asks:
			answer <- s.sink.reopen()
		case <-s.stop:
			s.flush()
			return
		}
	}
}

// flush writes until nothing waits, or an attempt fails.
func (s *Stream) flush() error {
	for {
		batch := s.take()
		if len(batch) == 0 {
			return nil
		}
		whole, err := s.sink.write(batch)
		s.settle(batch, whole, err)
		if err != nil {
			return err
		}
	}
}

// take gives the records that wait, and what is to be said of lost ones behind
// them: that there is room for it means that writing works again.
func (s *Stream) take() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := s.queue
	s.queue = nil
	s.writing = len(batch)
	if s.lost > 0 && s.failing == nil {
		batch = append(batch, Record{Time: s.o.now().UTC(), Event: Lost, Lost: s.lost})
		s.lost = 0
	}
	if len(batch) > 0 {
		s.since = s.o.now()
	}
	return batch
}

// settle takes down how an attempt ended, and puts back what was not written.
func (s *Stream) settle(batch []Record, whole int, err error) {
	s.mu.Lock()
	before := s.failing
	s.failing, s.since, s.writing = err, time.Time{}, 0
	if left := batch[whole:]; len(left) > 0 {
		s.queue = append(left, s.queue...)
	}
	lost := s.lost
	s.mu.Unlock()
	s.o.Written(whole)
	switch {
	case err != nil && before == nil:
		s.o.Failing(true)
		s.o.Logger.Error("the audit stream cannot be written; "+s.consequence(), zap.String("to", s.o.To), zap.Error(err))
	case err == nil && before != nil:
		s.o.Failing(false)
		s.o.Logger.Info("the audit stream is written again", zap.Int("lost", lost))
	}
}

// consequence tells what becomes of calls while the stream cannot be written.
func (s *Stream) consequence() string {
	if s.o.Refuse {
		return "calls are refused until it can (on_error: refuse)"
	}
	return "calls go on, and once too many records wait the others are lost (on_error: continue)"
}
