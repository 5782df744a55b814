package listen

import (
	"errors"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failingListener fails with each of its errors in turn, and then for good
// with the last.
type failingListener struct {
	errs  []error
	times []time.Time
}

func (f *failingListener) Accept() (net.Conn, error) {
	f.times = append(f.times, time.Now())
	err := f.errs[0]
	if len(f.errs) > 1 {
		f.errs = f.errs[1:]
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
}

func (f *failingListener) Close() error   { return nil }
func (f *failingListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestAShortageDoesNotEndAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &failingListener{errs: []error{
			syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ENETDOWN, syscall.EPERM,
			syscall.EPROTO, syscall.EHOSTUNREACH, syscall.EMFILE, syscall.EMFILE, syscall.EBADF,
		}}
		want := slices.Clone(inner.errs)
		var told []error
		l := newListener(inner, Options{AcceptFailed: func(err error) { told = append(told, err) }}, func() error { return nil })
		if _, err := l.Accept(); !errors.Is(err, syscall.EBADF) {
			t.Errorf("Accept ended with %v, want the error of a broken socket", err)
		}
		if len(told) != len(want)-1 {
			t.Fatalf("told of %v", told)
		}
		for i, err := range told {
			if !errors.Is(err, want[i]) {
				t.Errorf("told of %v, want %v", err, want[i])
			}
		}
		pause := 5 * time.Millisecond
		for i := range len(inner.times) - 1 {
			if got := inner.times[i+1].Sub(inner.times[i]); got != pause {
				t.Errorf("after failure %d it waited %v, want %v", i+1, got, pause)
			}
			pause = min(2*pause, time.Second)
		}
	})
}

func TestCloseEndsThePauseAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newListener(&failingListener{errs: []error{syscall.EMFILE}}, Options{}, func() error { return nil })
		ended := make(chan time.Time)
		go func() {
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Accept gave %v", err)
			}
			ended <- time.Now()
		}()
		time.Sleep(10500 * time.Millisecond) // the fake clock's: within a pause of a second
		closed := time.Now()
		l.Close()
		if end := <-ended; !end.Equal(closed) {
			t.Errorf("Accept ended %v after Close", end.Sub(closed))
		}
	})
}
