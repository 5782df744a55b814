package admin

import (
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	up := []Listener{{Address: "127.0.0.1:8180", Up: true}}
	one := []Route{{Name: "vault"}}
	vault := Token{Audience: "https://vault.azure.net", Usable: true, Expires: now.Add(23*time.Hour + 59*time.Minute)}
	for _, tt := range []struct {
		s    Status
		want string
	}{
		{Status{Listeners: up, Routes: append(one, one...)}, "serving 2 routes"},
		{Status{Listeners: up, Routes: one, Tokens: []Token{vault}}, "serving 1 route; token for https://vault.azure.net expires in 23 h"},
		{Status{Listeners: up, Routes: one, Tokens: []Token{vault, {Audience: "b", Usable: true, Expires: now.Add(5 * time.Minute)}, {Audience: "c", Failures: 2, Class: "throttled"}},
			IMDS: IMDS{PausedUntil: now.Add(30 * time.Second)}},
			"serving 1 route; no token for c (throttled); token for b expires in 5 min; IMDS is not asked for 30 s"},
		{Status{Listeners: up, Routes: one, Tokens: []Token{{Audience: "not asked for yet"}}, Config: Config{LastReloadError: "x\ny"}},
			"serving 1 route; the configuration on disk was not taken over"},
		{Status{Listeners: []Listener{{Address: "a"}}, Routes: one}, "the listener a is not up"},
		{Status{Listeners: up, Stopping: true}, "ending, with calls under way"},
	} {
		if got := tt.s.Summary(now); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
