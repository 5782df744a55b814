package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bearerd/bearerd/imds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	vault   = "https://vault.azure.net"
	storage = "https://storage.azure.com/"
)

func key(audience string) Key { return Key{Audience: audience} }

// call is one attempt that the cache made.
type call struct {
	at       time.Time
	audience string
}

// fakeSource answers as its script says and notes what it is asked. Its tokens
// are numbered and live for a day unless told otherwise.
type fakeSource struct {
	life time.Duration // 0: 24 h

	mu      sync.Mutex    // guards what follows, once calls are made
	takes   time.Duration // for an answer
	answer  func(n int, audience string) (*imds.Token, error)
	calls   []call
	current int
	most    int // at once
}

// Token implements Source.
func (f *fakeSource) Token(ctx context.Context, _ imds.Identity, audience string) (*imds.Token, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call{time.Now(), audience})
	n := len(f.calls)
	f.current++
	f.most = max(f.most, f.current)
	answer, takes := f.answer, f.takes
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.current--
		f.mu.Unlock()
	}()
	if takes > 0 {
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if answer != nil {
		return answer(n, audience)
	}
	return f.token(n), nil
}

func (f *fakeSource) token(n int) *imds.Token {
	life := f.life
	if life == 0 {
		life = 24 * time.Hour
	}
	return imds.NewToken(fmt.Sprintf("token-%d", n), time.Now().Add(life).Round(0), time.Time{})
}

func (f *fakeSource) script(answer func(n int, audience string) (*imds.Token, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// slow has every call from now on take d.
func (f *fakeSource) slow(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes = d
}

// fails has every call fail with the class.
func (f *fakeSource) fails(class imds.Class) {
	f.script(func(int, string) (*imds.Token, error) { return nil, failure(class, 0) })
}

func (f *fakeSource) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

// mostAtOnce gives the greatest number of calls under way since it was asked
// last.
func (f *fakeSource) mostAtOnce() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	most := f.most
	f.most = 0
	return most
}

func (f *fakeSource) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	var at []time.Time
	for _, c := range f.calls {
		at = append(at, c.at)
	}
	return at
}

func (f *fakeSource) audiences() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var audiences []string
	for _, c := range f.calls {
		audiences = append(audiences, c.audience)
	}
	return audiences
}

func failure(class imds.Class, retryAfter time.Duration) *imds.Error {
	return &imds.Error{Class: class, Status: 400, RetryAfter: retryAfter}
}

// newCache makes a cache without jitter that ends with the test. It is called
// within a bubble of synctest.
func newCache(t testing.TB, f *fakeSource, change func(*Options)) *Cache {
	t.Helper()
	o := Options{Source: f, Random: func() float64 { return 0.5 }}
	if change != nil {
		change(&o)
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

// want asks for a token and requires that it is the one named.
func want(t testing.TB, c *Cache, k Key, secret string) {
	t.Helper()
	token, err := c.Token(t.Context(), k)
	if err != nil {
		t.Fatalf("no token for %s: %v", k.Audience, err)
	}
	if token.Secret() != secret {
		t.Fatalf("got %s for %s, want %s", token.Secret(), k.Audience, secret)
	}
}

// wantNone asks for a token and requires an UnavailableError of the class.
func wantNone(t testing.TB, c *Cache, k Key, class imds.Class) *UnavailableError {
	t.Helper()
	token, err := c.Token(t.Context(), k)
	var unavailable *UnavailableError
	if token != nil || !errors.As(err, &unavailable) || classOf(err) != class {
		t.Fatalf("got %v and %v, want no token and class %s", token, err, class)
	}
	return unavailable
}
