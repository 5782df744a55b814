package cache

import (
	"errors"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestRefreshAt(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		name          string
		life, refresh time.Duration
		random        float64
		want          time.Duration
	}{
		{"half of what remains", 24 * time.Hour, 0, 0.5, 12 * time.Hour},
		{"ten per cent earlier", 24 * time.Hour, 0, 0, 12*time.Hour - 72*time.Minute},
		{"what the source says", 24 * time.Hour, time.Hour, 0.5, time.Hour},
		{"never at once", 40 * time.Second, 0, 0.5, 30 * time.Second},
	} {
		var refresh time.Time
		if tt.refresh > 0 {
			refresh = now.Add(tt.refresh)
		}
		if got := refreshAt(imds.NewToken("t", now.Add(tt.life), refresh), now, tt.random).Sub(now); got != tt.want {
			t.Errorf("%s: after %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWaitsGrowWithinTheirBounds(t *testing.T) {
	for class := imds.Unavailable; class <= imds.Malformed; class++ {
		b := backoffOf(class)
		var before time.Duration
		for failures := 1; failures < 100; failures++ {
			low, high := b.wait(failures, 0), b.wait(failures, 1)
			if low < b.first || high > b.last || low > high || high < before {
				t.Fatalf("%s: waits between %v and %v after %d failures, want within %v and growing", class, low, high, failures, b)
			}
			before = high
		}
		if before != b.last {
			t.Errorf("%s: the waits grow to %v, want %v", class, before, b.last)
		}
	}
}

func TestRetryIsSlowWhileTheTokenIsGood(t *testing.T) {
	now := time.Now()
	err := errors.New("a source's own")
	if got := retryAt(err, 1, time.Hour, now, 0.5).Sub(now); got < 27*time.Second {
		t.Errorf("retried after %v with an hour left", got)
	}
	if got := retryAt(err, 1, time.Minute, now, 0.5).Sub(now); got > 2*time.Second {
		t.Errorf("retried after %v with a minute left", got)
	}
}
