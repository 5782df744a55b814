package rig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Settings are what a test says about the bearerd that it wants.
type Settings struct {
	IMDS     *IMDS             // nil: an address where nobody answers
	Upstream map[string]string // host -> loopback address, as upstream.connect_to
	CA       []byte            // PEM that bearerd trusts upstream besides the rig's own authority
	Routes   string            // the YAML under routes; empty: bearerd's default ones
	More     string            // further top-level YAML
	Listen   string            // further YAML under listen: "  - {address: ..., mode: imds}\n"
	IMDSMore string            // further YAML under imds: ", token_wait: 1s"
	Env      []string          // further NAME=value of its environment

	Run       []string // further arguments of bearerd run
	User      int      // bearerd runs as this user without any privilege; 0: as the tests do
	Authority string   // the authority's file that it finds; empty: it makes one
}

// Daemon is a running bearerd.
type Daemon struct {
	*Process
	URL        string // http://127.0.0.1:port, the explicit listener
	Admin      string // http://127.0.0.1:port
	Config     string // its configuration file
	Audit      string // its audit stream's file
	State      string // its state_dir
	Root       string // the authority's root, in PEM
	TrustStore string // the same for Java
	IMDS       *IMDS

	rig  *Rig
	args []string // of run
	user int
	env  []string
	mu   sync.Mutex // guards seen
	seen strings.Builder
}

// Saw remembers what a client was shown, for the search for secrets.
func (d *Daemon) Saw(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen.WriteString(text)
}

// Start starts bearerd with everything logged, waits until it says that it is
// started, and exports the authority's root. When the test ends, bearerd is
// stopped and all that it said is searched for secrets.
func (r *Rig) Start(t *testing.T, s Settings) *Daemon {
	t.Helper()
	d := r.Prepare(t, s)
	d.Start(t)
	d.ExportRoot(t)
	return d
}

// Prepare writes the configuration of a bearerd that the test starts itself.
func (r *Rig) Prepare(t *testing.T, s Settings) *Daemon {
	t.Helper()
	dir := t.TempDir()
	proxy, admin := r.unusedAddress(t), r.unusedAddress(t)
	d := &Daemon{
		URL: "http://" + proxy, Admin: "http://" + admin,
		Config: filepath.Join(dir, "bearerd.yaml"), Audit: filepath.Join(dir, "audit.log"), State: filepath.Join(dir, "state"),
		Root: filepath.Join(dir, "root.pem"), TrustStore: filepath.Join(dir, "root.p12"),
		IMDS: s.IMDS, rig: r, args: s.Run, user: s.User, env: s.Env,
	}
	endpoint := "http://" + FreeAddress(t)
	if s.IMDS != nil {
		endpoint = s.IMDS.URL
	}
	var text strings.Builder
	fmt.Fprintf(&text, "cloud: public\nlisten:\n  - address: %s\n%sadmin: {address: %s}\nstate_dir: %s\n", proxy, s.Listen, admin, d.State)
	fmt.Fprintf(&text, "log: {level: debug, format: json, access: all}\nimds: {endpoint: %s%s}\n", endpoint, s.IMDSMore)
	if !strings.Contains(s.More, "\naudit:") && !strings.HasPrefix(s.More, "audit:") {
		fmt.Fprintf(&text, "audit: {to: %q, on_error: refuse}\n", d.Audit)
	}
	caFile := r.CAFile
	if s.CA != nil {
		caFile = filepath.Join(dir, "upstream-roots.pem")
		if err := os.WriteFile(caFile, slices.Concat(r.CA.PEM(), s.CA), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(&text, "upstream:\n  ca_file: %s\n", caFile)
	if len(s.Upstream) > 0 {
		fmt.Fprintf(&text, "  connect_to:\n")
		for host, address := range s.Upstream {
			fmt.Fprintf(&text, "    %s: %q\n", host, address)
		}
	}
	text.WriteString(s.More)
	if s.Routes != "" {
		text.WriteString("routes:\n" + s.Routes)
	}
	if err := os.WriteFile(d.Config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if s.Authority != "" {
		if err := errors.Join(os.Mkdir(d.State, 0o700), copyFile(filepath.Join(d.State, "authority.pem"), s.Authority)); err != nil {
			t.Fatal(err)
		}
	}
	if s.User != 0 {
		d.handOver(t, dir)
	}
	return d
}

func copyFile(to, from string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

// handOver gives bearerd's user the files that are bearerd's, and the way there.
func (d *Daemon) handOver(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, d.user, d.user))
	})
	if err := errors.Join(err, os.Chmod(filepath.Dir(dir), 0o755)); err != nil { // the folder of the test's folders
		t.Fatal(err)
	}
}

// Start starts bearerd and waits until it says that it is started.
func (d *Daemon) Start(t *testing.T) {
	t.Helper()
	d.Begin(t)
	Eventually(t, "bearerd has started", func() error {
		d.Alive(t)
		return Answers(d.Admin+"/startupz", http.StatusOK)
	})
}

// Begin starts bearerd and does not wait for it.
func (d *Daemon) Begin(t *testing.T) {
	t.Helper()
	argv := append([]string{d.rig.Bin, "run", "--config", d.Config}, d.args...)
	if d.user != 0 {
		argv = append(AsUser(d.user, "--bounding-set=-all"), argv...)
	}
	var err error
	if d.Process, err = Launch(slices.Concat(d.rig.BaseEnv(), d.env), filepath.Dir(d.Config), argv[0], argv[1:]...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-d.Done:
		default:
			d.Saw(Get(t, d.Admin+"/metrics"))
			d.Saw(Get(t, d.Admin+"/status"))
			d.Stop()
		}
		d.searchForSecrets(t)
	})
}

// AsUser is what a command begins with that runs as another user, in a group of
// the same number and no other.
func AsUser(uid int, more ...string) []string {
	id := strconv.Itoa(uid)
	return append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}, more...)
}

// Alive fails the test at once if bearerd has ended.
func (d *Daemon) Alive(t *testing.T) {
	t.Helper()
	select {
	case <-d.Done:
		t.Fatalf("bearerd ended at once (%v) and said:\n%s", d.Err, d.Out)
	default:
	}
}

// ExportRoot gives clients what they need to trust, with the commands that a
// person would use.
func (d *Daemon) ExportRoot(t *testing.T) {
	t.Helper()
	Run(t, d.rig.BaseEnv(), "", d.rig.Bin, "ca", "export", "--config", d.Config, "--out", d.Root)
	Run(t, d.rig.BaseEnv(), "", d.rig.Bin, "ca", "export", "--config", d.Config, "--format", "pkcs12", "--out", d.TrustStore)
}

// AppClient is a Go program that goes through the proxy variables and trusts
// the authority's root, speaking HTTP/2 or HTTP/1.1.
func (d *Daemon) AppClient(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	proxy, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(d.Root)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatal("no certificate in the exported root")
	}
	transport := &http.Transport{
		Proxy:           http.ProxyURL(proxy),
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Protocols:       new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 3 * time.Minute}
}

// Memory gives a field of the daemon's /proc/PID/status in bytes: VmRSS is
// what is resident now, VmHWM the most that ever was.
func (d *Daemon) Memory(t *testing.T, field string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in:\n%s", field, text)
	}
	kib, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// Limit gives the soft limit, the hard limit and the unit of a line of the
// daemon's /proc/PID/limits.
func (d *Daemon) Limit(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", d.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.Fields(rest)
		}
	}
	t.Fatalf("no %s in:\n%s", name, text)
	return nil
}
