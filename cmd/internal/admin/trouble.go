package admin

import (
	"fmt"
	"strings"
	"time"
)

// Trouble is one thing that a person should look at.
type Trouble struct {
	Severe bool   `json:"severe"` // calls fail of it, or will soon
	Text   string `json:"text"`   // what is amiss, and what to do
}

const (
	// authorityNotice is how long before its end an authority is spoken of:
	// every app has to trust the next one by then.
	authorityNotice = 60 * 24 * time.Hour
	// certificateNotice is the same for a listener's own certificate, which is
	// renewed earlier where that goes by itself.
	certificateNotice = 7 * 24 * time.Hour
	// staleLook is how old the last look at the kernel's rules may be.
	staleLook = 15 * time.Minute
)

// troubles lists what is amiss, what keeps the daemon from being ready first.
func (r report) troubles(now time.Time) (all []Trouble) {
	severe := func(format string, args ...any) { all = append(all, Trouble{true, fmt.Sprintf(format, args...)}) }
	warn := func(format string, args ...any) { all = append(all, Trouble{false, fmt.Sprintf(format, args...)}) }
	for _, reason := range r.Reasons {
		severe("%s", reason)
	}
	for _, t := range r.Tokens {
		switch {
		case t.Error != "" && t.Usable:
			warn("the token for %s (%s) is not renewed; it serves until it ends, %s", t.Audience, t.Identity, far(now, t.Expires))
		case t.Error != "" && !t.Required: // else a reason says it
			severe("%s", noToken(t))
		}
	}
	if l := r.Learning; l != nil {
		warn("bearerd learns since %s: what the routes say of methods, paths and operations does not hold; %d kinds of calls are remembered for %s, and %d calls found no room", l.Since.Format(time.RFC3339), l.Kinds, l.File, l.Dropped)
	}
	if !r.IMDS.PausedUntil.IsZero() {
		warn("IMDS throttles the machine; it is asked again %s; look for other programs that ask it", far(now, r.IMDS.PausedUntil))
	}
	for _, i := range r.Identities {
		if i.Previous != nil {
			warn("the tokens of %s are issued to another identity than before, which has roles of its own", i.Identity)
		}
	}
	if r.Redirect != nil {
		switch {
		case !r.Redirect.InPlace:
			severe("the rules of redirect are not in place; run `bearerd redirect verify` as root to see what is missing")
		case now.Sub(r.Redirect.Checked) > staleLook:
			warn("nobody has looked at the rules of redirect since %s; run `bearerd redirect verify` as root, from a timer", r.Redirect.Checked.Format(time.RFC3339))
		}
	}
	for _, l := range r.Listeners {
		if l.Certificate == nil {
			continue
		}
		switch {
		case l.Certificate.Error != "":
			severe("the certificate of %s: %s", l.Address, l.Certificate.Error)
		case !l.Certificate.Expires.IsZero() && l.Certificate.Expires.Sub(now) < certificateNotice:
			severe("the certificate of %s expires %s", l.Address, far(now, l.Certificate.Expires))
		}
	}
	if r.Authority != nil && r.Authority.Expires.Sub(now) < authorityNotice {
		severe("the authority expires %s; run `bearerd ca stage`, and have the apps trust what `bearerd ca export` gives", far(now, r.Authority.Expires))
	}
	if r.Config.LastReloadError != "" {
		severe("a newer configuration was not taken: %s", r.Config.LastReloadError)
	}
	return all
}

func far(now, t time.Time) string { return view{Now: now}.Far(t) }

// noToken tells why there is none. Errors of package imds name the token.
func noToken(t Token) string {
	if strings.HasPrefix(t.Error, "token for ") {
		return "no " + t.why()
	}
	return fmt.Sprintf("no token for %s (%s): %s", t.Audience, t.Identity, t.why())
}
