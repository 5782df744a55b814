package daemon

import (
	"context"
	"testing"
	"time"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/imds"
)

// oneThrottled refuses every call of one source, and answers the others.
type oneThrottled struct{ source string }

func (s oneThrottled) Token(_ context.Context, id imds.Identity, audience string) (*imds.Token, error) {
	if id.Source == s.source {
		return nil, &imds.Error{Class: imds.Throttled, Status: 429, RetryAfter: time.Hour, Audience: audience, Identity: id}
	}
	return imds.NewToken("of "+id.Source, time.Now().Add(time.Hour), time.Time{}), nil
}

func TestThrottlingOfOneSourcePausesNoOther(t *testing.T) {
	key := func(source string) cache.Key {
		return cache.Key{Identity: imds.Identity{Source: source}, Audience: "https://vault.azure.net"}
	}
	for _, throttled := range []string{"", "workload"} {
		all := newTokens(func() *cache.Cache { return cache.New(cache.Options{Source: oneThrottled{throttled}}) })
		if _, err := all.Token(t.Context(), key(throttled)); err == nil {
			t.Fatalf("%q is not throttled", throttled)
		}
		for _, other := range []string{"", "workload", "arc"} {
			if other == throttled {
				continue
			}
			began := time.Now()
			if token, err := all.Token(t.Context(), key(other)); err != nil || time.Since(began) > time.Second {
				t.Errorf("while %q is throttled, %q gave %v %v", throttled, other, token, err)
			}
		}
		if err := all.Keep([]cache.Key{key("arc")}); err != nil {
			t.Error(err)
		}
		kept := 0
		for _, s := range all.Status() {
			if s.Kept {
				kept++
			}
		}
		if kept != 1 || len(all.Status()) != 3 {
			t.Errorf("%d of %d keys are kept, want 1 of 3", kept, len(all.Status()))
		}
		all.Close()
		if _, err := all.Token(t.Context(), key("servicefabric")); err == nil {
			t.Error("a closed one still opens sources")
		}
	}
}
