package azuretest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestVerifierJudgesTokens(t *testing.T) {
	is, stranger := newIssuer(t), newIssuer(t)
	v := NewVerifier(testTenant, &is.key.PublicKey, nil)
	with := func(name string, value any) map[string]any {
		c := claims(VaultAudience)
		c[name] = value
		return c
	}
	good := is.sign(t, claims(VaultAudience))
	tests := []struct {
		name, authorization string
		want                error
	}{
		{"good", "Bearer " + good, nil},
		{"audience with a slash", "Bearer " + is.sign(t, claims(VaultAudience+"/")), nil},
		{"nothing", "", ErrMissing},
		{"another scheme", "Basic " + good, ErrMissing},
		{"the scheme in lower case", "bearer " + good, ErrMissing},
		{"no JWT", "Bearer dummy", ErrMalformed},
		{"no JSON", "Bearer a.b.c", ErrMalformed},
		{"not signed", "Bearer " + is.signAs(t, `{"alg":"none"}`, claims(VaultAudience)), ErrMalformed},
		{"signed by a stranger", "Bearer " + stranger.sign(t, claims(VaultAudience)), ErrSignature},
		{"another tenant's", "Bearer " + is.sign(t, with("iss", "https://sts.windows.net/other/")), ErrIssuer},
		{"for another service", "Bearer " + is.sign(t, claims(StorageAudience)), ErrAudience},
		{"for a name that begins alike", "Bearer " + is.sign(t, claims(VaultAudience+".evil.example")), ErrAudience},
		{"of tomorrow", "Bearer " + is.sign(t, with("nbf", time.Now().Add(24*time.Hour).Unix())), ErrNotYet},
		{"without nbf", "Bearer " + is.sign(t, with("nbf", 0)), ErrNotYet},
		{"expired", "Bearer " + is.sign(t, with("exp", time.Now().Add(-time.Second).Unix())), ErrExpired},
		{"without exp", "Bearer " + is.sign(t, with("exp", 0)), ErrExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := v.Verify(tt.authorization, VaultAudience)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err == nil && c.ObjectID != "the-object" {
				t.Errorf("got claims %+v", c)
			}
		})
	}
}

func TestVerifierRevokesWhatItHasSeen(t *testing.T) {
	is := newIssuer(t)
	v := NewVerifier(testTenant, &is.key.PublicKey, nil)
	old, fresh := "Bearer "+is.sign(t, claims(VaultAudience)), "Bearer "+is.sign(t, claims(VaultAudience))
	if _, err := v.Verify(old, VaultAudience); err != nil {
		t.Fatal(err)
	}
	if n := v.Revoke(); n != 1 {
		t.Errorf("%d tokens were revoked, want 1", n)
	}
	if _, err := v.Verify(old, VaultAudience); !errors.Is(err, ErrRevoked) {
		t.Errorf("got %v for the revoked token", err)
	}
	if _, err := v.Verify(fresh, VaultAudience); err != nil {
		t.Errorf("got %v for one that was issued since", err)
	}
}

func TestTokenEndsToTheSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := newIssuer(t)
		v := NewVerifier(testTenant, &is.key.PublicKey, nil)
		token := "Bearer " + is.sign(t, claims(VaultAudience))
		time.Sleep(time.Hour - time.Second)
		if _, err := v.Verify(token, VaultAudience); err != nil {
			t.Errorf("a second before its end: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := v.Verify(token, VaultAudience); !errors.Is(err, ErrExpired) {
			t.Errorf("at its end: %v", err)
		}
	})
}
