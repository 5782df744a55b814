package metrics

import (
	"net/http"
	"testing"
	"time"
)

// What people are shown is what a scrape tells.
func TestTrafficIsWhatWasObserved(t *testing.T) {
	r := New("1").Route("vault")
	if got := r.Traffic(); got != (Traffic{}) {
		t.Errorf("before the first request: %+v", got)
	}
	for _, status := range []int{200, 201, 304, 403, 404, 429, 502, 0, statusClientGone} {
		r.Observe(http.MethodGet, status, time.Millisecond, 10, 100, "")
	}
	r.Observe(http.MethodConnect, 503, time.Millisecond, 5, 5, "") // a tunnel's bytes are not the route's
	want := Traffic{Requests: 10, ClientErrors: 3, ServerErrors: 2, Broken: 2, ReceivedBytes: 90, SentBytes: 900}
	if got := r.Traffic(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCountsOfAListener(t *testing.T) {
	l := New("1").Listener("127.0.0.1:8180")
	for range 3 {
		l.Accepted()
	}
	l.Closed()
	if open, accepted := l.Counts(); open != 2 || accepted != 3 {
		t.Errorf("%d open, %d accepted", open, accepted)
	}
}
