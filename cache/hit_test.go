package cache

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/bearerd/bearerd/imds"
)

func TestHitAllocatesNothing(t *testing.T) {
	c := New(Options{Source: &fakeSource{}})
	defer c.Close()
	ctx := t.Context()
	k := Key{Identity: imds.Identity{ClientID: "id"}, Audience: vault}
	if _, err := c.Token(ctx, k); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Token(ctx, k); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

// BenchmarkHit measures hits by all processors at once: run it with -cpu 1,2. A
// hit writes nothing that they share, but a hook may: a counter costs more, the
// more processors there are, unless it is in parts.
func BenchmarkHit(b *testing.B) {
	type counter struct {
		atomic.Int64
		_ [56]byte // a cache line of its own
	}
	var one [4]counter
	var parts [4][16]counter
	for _, bb := range []struct {
		name  string
		hooks Hooks
	}{
		{"bare", Hooks{}},
		{"counted", Hooks{Served: func(o Outcome) { one[o].Add(1) }}},
		{"counted_in_parts", Hooks{Served: func(o Outcome) { parts[o][rand.Uint32()%16].Add(1) }}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := New(Options{Source: &fakeSource{}, Hooks: bb.hooks})
			defer c.Close()
			k := Key{Identity: imds.Identity{ClientID: "00000000-0000-0000-0000-000000000001"}, Audience: vault}
			ctx := context.Background()
			if _, err := c.Token(ctx, k); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.Token(ctx, k); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
