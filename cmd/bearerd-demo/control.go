package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// controlPath is where the served world takes orders, on the emulated IMDS's
// own listener.
const controlPath = "/emulator/"

// control puts the orders in front of the emulated IMDS: what goes wrong next,
// and what becomes of tokens.
func (w *world) control() http.Handler {
	orders := map[string]func(url.Values) (string, error){
		"fault": func(q url.Values) (string, error) {
			f, err := parseFault(q)
			if err == nil {
				w.imds.Script(f)
			}
			return "it happens to the next calls for a token", err
		},
		"clear":  func(url.Values) (string, error) { w.imds.Clear(); return "nothing goes wrong any more", nil },
		"forget": func(url.Values) (string, error) { w.imds.Forget(); return "the next calls get other tokens", nil },
		"revoke": func(url.Values) (string, error) {
			return fmt.Sprintf("the services refuse the %d tokens that they have seen", w.cloud.Tokens.Revoke()), nil
		},
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutPrefix(r.URL.Path, controlPath)
		if !ok {
			w.imds.ServeHTTP(rw, r)
			return
		}
		order, known := orders[name]
		// A web page sends an Origin with its POST, and gives no orders here.
		if !known || r.Method != http.MethodPost || r.Header.Get("Origin") != "" {
			http.Error(rw, "POST "+controlPath+"{"+strings.Join(slices.Sorted(maps.Keys(orders)), ",")+"}", http.StatusBadRequest)
			return
		}
		said, err := order(r.URL.Query())
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(rw, said)
	})
}

// faults are what can go wrong, by the words of the control.
func faults() map[string]func(url.Values) (imdstest.Fault, error) {
	plain := func(f imdstest.Fault) func(url.Values) (imdstest.Fault, error) {
		return func(url.Values) (imdstest.Fault, error) { return f, nil }
	}
	withDuration := func(name string, make func(time.Duration) imdstest.Fault) func(url.Values) (imdstest.Fault, error) {
		return func(q url.Values) (imdstest.Fault, error) {
			d, err := time.ParseDuration(q.Get(name))
			if err != nil {
				return imdstest.Fault{}, fmt.Errorf("%s wants a duration like 5s", name)
			}
			return make(d), nil
		}
	}
	all := map[string]func(url.Values) (imdstest.Fault, error){
		"429":          plain(imdstest.Throttled(nil)),
		"not-assigned": plain(imdstest.NotAssigned()),
		"several":      plain(imdstest.Refused(http.StatusBadRequest, "invalid_request", "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")),
		"html":         plain(imdstest.HTML()), "redirect": plain(imdstest.Redirect("http://127.0.0.1:9/")),
		"hang": plain(imdstest.Hang()), "reset": plain(imdstest.Reset()), "cut": plain(imdstest.Cut()),
		"truncated": plain(imdstest.Truncated()), "huge": plain(imdstest.Huge()),
		"empty-expires-in": plain(imdstest.EmptyExpiresIn()), "no-expiry": plain(imdstest.NoExpiry()),
		"numbers": plain(imdstest.Numbers()), "expired": plain(imdstest.Expired()),
		"another": plain(imdstest.Another()), "same": plain(imdstest.Same()),
		"slow":  withDuration("by", imdstest.Slow),
		"clock": withDuration("by", imdstest.ClockOff),
	}
	for _, status := range []int{404, 410, 500, 502, 503, 504} {
		all[strconv.Itoa(status)] = plain(imdstest.Unavailable(status))
	}
	return all
}

// parseFault reads an order such as kind=429&retry_after=5&for=30s.
func parseFault(q url.Values) (imdstest.Fault, error) {
	known := faults()
	make, ok := known[q.Get("kind")]
	if !ok {
		return imdstest.Fault{}, fmt.Errorf("kind is one of %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	f, err := make(q)
	if err != nil {
		return f, err
	}
	if after := q.Get("retry_after"); after != "" {
		f = f.After(imdstest.Text(after))
	}
	if resource := q.Get("resource"); resource != "" {
		f = f.On(resource)
	}
	times, span := q.Get("times"), q.Get("for")
	switch {
	case times != "" && span != "":
		return f, errors.New("times and for exclude one another")
	case times != "":
		n, err := strconv.Atoi(times)
		if err != nil || n < 1 {
			return f, errors.New("times wants a number from 1 on")
		}
		return f.Times(n), nil
	case span == "ever":
		return f.Always(), nil
	case span != "":
		d, err := time.ParseDuration(span)
		if err != nil || d <= 0 {
			return f, errors.New("for wants a duration like 30s, or ever")
		}
		return f.For(d), nil
	}
	return f, nil
}
