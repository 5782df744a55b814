package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// exported lists the roots that an app is told to trust.
func exported(t *testing.T, o Options) []*x509.Certificate {
	t.Helper()
	r, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	var roots []*x509.Certificate
	for block, rest := pem.Decode(r.RootPEM()); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, cert)
	}
	return roots
}

// trusts reports whether an app with these roots takes what the daemon shows.
func trusts(t *testing.T, roots []*x509.Certificate, a *Authority) bool {
	t.Helper()
	leaf := leafOf(t, a, "api.example.net")
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	for _, der := range leaf.Certificate[1:] {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(cert)
	}
	_, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: "api.example.net"})
	return err == nil
}

// An app that takes over what is exported, at whatever moment, trusts a daemon
// that was started before the next step and one that was started after it.
func TestStagedRenewalLeavesNoAppWithoutTrust(t *testing.T) {
	for _, kind := range []struct {
		name string
		rsa  bool
	}{{"ECDSA", false}, {"RSA", true}} {
		t.Run(kind.name, func(t *testing.T) {
			o := Options{Dir: stateDir(t), Permit: []string{"example.net"}, RSA: kind.rsa}
			before := open(t, o)
			atFirst := exported(t, o)
			staged, err := Stage(t.Context(), o, false)
			if err != nil {
				t.Fatal(err)
			}
			if open(t, o).Fingerprint() != before.Fingerprint() {
				t.Error("the staged authority signs before it is promoted")
			}
			whileStaged := exported(t, o)
			promoted, err := Promote(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			after := open(t, o)
			if after.Fingerprint() != staged.Fingerprint() || promoted.Fingerprint() != staged.Fingerprint() {
				t.Error("another authority signs than the one that was staged")
			}
			for name, roots := range map[string][]*x509.Certificate{"staged": whileStaged, "promoted": exported(t, o)} {
				if len(roots) != 2 || !trusts(t, roots, before) || !trusts(t, roots, after) {
					t.Errorf("what is exported while %s are %d roots, trusted before: %v, after: %v", name, len(roots), trusts(t, roots, before), trusts(t, roots, after))
				}
			}
			if trusts(t, atFirst, after) {
				t.Error("the new authority has the old root, so that nothing was renewed")
			}
			if _, err := Promote(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a second Promote gives %v", err)
			}
		})
	}
}

func TestStageNeedsAnAuthority(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	if _, err := Stage(t.Context(), o, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("staging beside none gives %v", err)
	}
	if _, err := Promote(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("promoting none gives %v", err)
	}
}

func TestStagedAuthorityIsKeptUnlessAskedFor(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	open(t, o)
	first, err := Stage(t.Context(), o, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Stage(t.Context(), o, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("staging twice gives %v", err)
	}
	if again, err := Staged(o); err != nil || again.Fingerprint() != first.Fingerprint() {
		t.Errorf("the staged one is another: %v", err)
	}
	second, err := Stage(t.Context(), o, true)
	if err != nil || second.Fingerprint() == first.Fingerprint() {
		t.Errorf("staging again keeps the old one: %v", err)
	}
}

// Else the daemon would not start with it.
func TestPromoteRefusesWhatDoesNotCoverTheRoutes(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	now := open(t, o)
	if _, err := Stage(t.Context(), o, false); err != nil {
		t.Fatal(err)
	}
	o.Permit = append(o.Permit, "example.org")
	if _, err := Promote(t.Context(), o); err == nil {
		t.Error("an authority that cannot sign for a route is promoted")
	}
	o.Permit = o.Permit[:1]
	if open(t, o).Fingerprint() != now.Fingerprint() {
		t.Error("a refused Promote changed the authority")
	}
}

// A stolen folder holds the staged key as well.
func TestRenewForgetsWhatIsStaged(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	old := open(t, o)
	for range 2 {
		if _, err := Stage(t.Context(), o, false); err != nil {
			t.Fatal(err)
		}
		if _, err := Promote(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Stage(t.Context(), o, false); err != nil {
		t.Fatal(err)
	}
	renewed, err := Init(t.Context(), o, true)
	if err != nil {
		t.Fatal(err)
	}
	roots := exported(t, o)
	if len(roots) != 1 || !bytes.Equal(roots[0].Raw, renewed.keys.root().Raw) || slices.ContainsFunc(roots, old.keys.root().Equal) {
		t.Errorf("%d roots are exported; want the new one alone", len(roots))
	}
}

// A crash between the two renames of Promote leaves the former root's file beside
// an authority that is not the former one yet.
func TestCrashInPromoteLeavesAllAsItWas(t *testing.T) {
	o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
	now := open(t, o)
	if _, err := Stage(t.Context(), o, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "authority-former.pem"), now.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if roots := exported(t, o); len(roots) != 2 || !trusts(t, roots, now) {
		t.Errorf("%d roots are exported; want today's and the staged one's", len(roots))
	}
	if _, err := Promote(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func TestDamagedStagedAuthorityIsTold(t *testing.T) {
	for _, name := range []string{"authority-next.pem", "authority-former.pem"} {
		o := Options{Dir: stateDir(t), Permit: []string{"example.net"}}
		open(t, o)
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(o); err == nil {
			t.Errorf("a damaged %s is passed over: an app would miss a root", name)
		}
		open(t, o) // and the daemon starts all the same
	}
}
