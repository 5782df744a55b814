package rig

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pebbleProgram is built once by whoever needs it first; Go's cache keeps it.
const pebbleProgram = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1"

// Pebble is a running ACME server that asks for an external account.
type Pebble struct {
	Directory string // URL; its certificate is the rig's authority's
	EABKeyID  string
	EABKey    string
}

// PebbleOptions say what a Pebble validates, and how long its certificates live.
type PebbleOptions struct {
	HTTP, TLS string        // addresses on loopback in place of ports 80 and 443 of every domain
	Life      time.Duration // of a certificate
}

// StartPebble starts an ACME server for which every name is 127.0.0.1.
func (r *Rig) StartPebble(t *testing.T, o PebbleOptions) *Pebble {
	t.Helper()
	install := exec.Command("go", "install", pebbleProgram)
	install.Dir = r.Dir // outside any module
	install.Env = append(os.Environ(), "GOBIN="+r.Dir, "GOFLAGS=")
	if text, err := install.CombinedOutput(); err != nil {
		t.Fatalf("build Pebble: %v\n%s", err, text)
	}
	dir := t.TempDir()
	cert, key, err := r.CA.issue("localhost")
	if err != nil {
		t.Fatal(err)
	}
	address := r.unusedAddress(t)
	p := &Pebble{
		Directory: "https://localhost:" + portOf(t, address) + "/dir",
		EABKeyID:  "kid-1", EABKey: "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": address,
		"certificate":   writeFile(t, filepath.Join(dir, "cert.pem"), cert), "privateKey": writeFile(t, filepath.Join(dir, "key.pem"), key),
		"httpPort": number(t, portOf(t, o.HTTP)), "tlsPort": number(t, portOf(t, o.TLS)),
		"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{p.EABKeyID: p.EABKey},
		"retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles":   map[string]any{"default": map[string]any{"description": "short", "validityPeriod": int(o.Life.Seconds())}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, filepath.Join(dir, "pebble.json"), config)
	process, err := Launch(append(r.BaseEnv(), "PEBBLE_VA_NOSLEEP=1"), dir, filepath.Join(r.Dir, "pebble"), "-config", file, "-dnsserver", serveNames(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Stop)
	Eventually(t, "Pebble listens", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return p
}

// serveNames starts a DNS server that knows every name, as 127.0.0.1. It is asked
// by TCP, as Pebble does.
func serveNames(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here := Zone(func(string) ([]netip.Addr, bool) { return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, true })
	Serve(t, l, func(conn net.Conn) {
		for here.answerStream(conn) == nil {
		}
	})
	return l.Addr().String()
}

func writeFile(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, ok := strings.Cut(address, ":")
	if !ok {
		t.Fatalf("%q has no port", address)
	}
	return port
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
