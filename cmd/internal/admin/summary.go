package admin

import (
	"fmt"
	"strings"
	"time"
)

// Summary gives in one line what a person wants to know first.
func (s Status) Summary(now time.Time) string {
	if s.Stopping {
		return "ending, with calls under way"
	}
	parts := []string{fmt.Sprintf("serving %s", counted(len(s.Routes), "route"))}
	if down := s.down(); len(down) > 0 {
		parts = down
	}
	var next Token // the first one to end
	for _, t := range s.Tokens {
		switch {
		case !t.Usable && t.Failures > 0:
			parts = append(parts, fmt.Sprintf("no token for %s (%s)", t.Audience, t.Class))
		case t.Usable && (next.Expires.IsZero() || t.Expires.Before(next.Expires)):
			next = t
		}
	}
	if !next.Expires.IsZero() {
		parts = append(parts, fmt.Sprintf("token for %s expires in %s", next.Audience, roughly(next.Expires.Sub(now))))
	}
	if s.IMDS.PausedUntil.After(now) {
		parts = append(parts, "IMDS is not asked for "+roughly(s.IMDS.PausedUntil.Sub(now)))
	}
	if s.Config.LastReloadError != "" {
		parts = append(parts, "the configuration on disk was not taken over")
	}
	return strings.Join(parts, "; ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// roughly gives a duration's largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d s", max(d, 0)/time.Second)
	}
}
