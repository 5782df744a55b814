package cache

import (
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds"
)

func TestRefreshAfter(t *testing.T) {
	for _, tt := range []struct {
		name         string
		left, source time.Duration
		random       float64
		least, most  time.Duration
	}{
		{"half of what remains", 24 * time.Hour, 0, 0.5, 11*time.Hour + 50*time.Minute, 12 * time.Hour},
		{"ten per cent earlier", 24 * time.Hour, 0, 0, 12*time.Hour - 72*time.Minute, 12*time.Hour - 72*time.Minute},
		{"no later than 11 h and margins before the end", 24 * time.Hour, 0, 1, 12*time.Hour + 50*time.Minute, 13*time.Hour - 2*time.Minute},
		{"what the source says", 24 * time.Hour, time.Hour, 0.5, 59 * time.Minute, time.Hour},
		{"never at once", time.Minute, 0, 0, 30 * time.Second, 30 * time.Second},
		{"not after the last use", 50 * time.Second, 0, 0.5, 20 * time.Second, 20 * time.Second},
	} {
		if got := refreshAfter(tt.left, tt.source, tt.random); got < tt.least || got > tt.most {
			t.Errorf("%s: after %v, want between %v and %v", tt.name, got, tt.least, tt.most)
		}
	}
}

func TestWaitsGrowWithinTheirBounds(t *testing.T) {
	for class := imds.Unavailable; class <= imds.Malformed; class++ {
		b := backoffOf(class)
		var before time.Duration
		for failures := 1; failures < 100; failures++ {
			low, high := b.wait(failures, 0), b.wait(failures, 1)
			if low < b.first || high > b.last || low >= high || high < before {
				t.Fatalf("%s: waits between %v and %v after %d failures, want within %v, with jitter and growing", class, low, high, failures, b)
			}
			before = high
		}
		if before != b.last || b.last > time.Minute {
			t.Errorf("%s: the waits grow to %v, want %v, a minute at most", class, before, b.last)
		}
	}
}

func TestPauseAfterA429WithoutRetryAfterSpreadsWiderEachTime(t *testing.T) {
	var before time.Duration
	for throttled := 1; throttled < 100; throttled++ {
		low, high := throttleWait(throttled, 0), throttleWait(throttled, 1)
		if low != time.Second || high < min(2*before, time.Minute) || high > time.Minute {
			t.Fatalf("the %dth pause is between %v and %v, want from a second to a growing end", throttled, low, high)
		}
		before = high
	}
}

func TestRetryAfterWidensWhatWasAskedForALittle(t *testing.T) {
	for _, tt := range []struct {
		asked time.Duration
		most  time.Duration
	}{{10 * time.Second, 11 * time.Second}, {10 * time.Minute, 10*time.Minute + 5*time.Second}} {
		if low, high := askedWait(tt.asked, 0), askedWait(tt.asked, 1); low != tt.asked || high != tt.most {
			t.Errorf("%v asked for gives %v to %v, want up to %v", tt.asked, low, high, tt.most)
		}
	}
}

func TestRetryIsSlowWhileTheTokenIsGood(t *testing.T) {
	for _, tt := range []struct {
		name        string
		failures    int
		left        time.Duration
		least, most time.Duration
	}{
		{"the first", 1, 12 * time.Hour, 30 * time.Second, time.Minute},
		{"after many", 20, 12 * time.Hour, 7 * time.Minute, 15 * time.Minute},
		{"nearer the end", 20, 32 * time.Minute, time.Minute, 2 * time.Minute},
		{"near the end", 1, 5 * time.Minute, time.Second, 2 * time.Second},
		{"no token", 1, 0, time.Second, 2 * time.Second},
		{"no token for long", 20, 0, 30 * time.Second, time.Minute},
	} {
		for _, random := range []float64{0, 0.5, 0.999} {
			if wait := retryAfter(imds.Unavailable, tt.failures, tt.left, random); wait < tt.least || wait > tt.most {
				t.Errorf("%s: after %v, want between %v and %v", tt.name, wait, tt.least, tt.most)
			}
		}
	}
}
