package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/imds/imdstest"
)

const vaultHost = "payroll.vault.azure.net"

// patient is a machine that doctor is called to: an emulated IMDS, a service and
// a configuration that leads to both.
type patient struct {
	t         *testing.T
	dir       string
	imds      *imdstest.Server
	service   *httptest.Server
	resolvers string // one DNS server; empty: the system's
	yaml      string // beside what leads to imds and service
	routes    string
	env       map[string]string

	status    int // the service's answer
	header    map[string]string
	body      string
	certHosts []string // of the service's certificate
	untrusted bool     // nobody trusts who has signed it
	lateBy    time.Duration
	connectTo string      // empty: the service
	more      string      // further entries of connect_to
	listen    string      // empty: a unix socket
	admin     string      // the same
	mode      os.FileMode // of the configuration; 0: its owner's alone
}

func newPatient(t *testing.T) *patient {
	p := &patient{
		t: t, dir: t.TempDir(), imds: imdstest.New(imdstest.Options{}), status: http.StatusOK, certHosts: []string{vaultHost},
		routes: "  - {service: keyvault, hosts: [" + vaultHost + "]}\n", env: make(map[string]string),
	}
	p.service = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || r.Method != http.MethodGet {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("Date", time.Now().Add(p.lateBy).UTC().Format(http.TimeFormat))
		for name, value := range p.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(p.status)
		_, _ = io.WriteString(w, p.body)
	}))
	p.service.Config.ErrorLog = log.New(io.Discard, "", 0)
	return p
}

// config starts what the patient needs, and reads its configuration.
func (p *patient) config() *daemon.Config {
	p.t.Helper()
	cert, root := signedFor(p.t, p.certHosts...)
	if p.untrusted {
		_, root = signedFor(p.t, "other.example")
	}
	caFile := filepath.Join(p.dir, "roots.pem")
	p.service.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	p.service.StartTLS()
	p.t.Cleanup(p.service.Close)
	machine := httptest.NewServer(p.imds)
	p.t.Cleanup(machine.Close)
	to := p.service.Listener.Addr().String()
	if p.connectTo != "" {
		to = p.connectTo
	}
	listen, admin := "unix:"+filepath.Join(p.dir, "proxy.sock"), "unix:"+filepath.Join(p.dir, "admin.sock")
	if p.listen != "" {
		listen = p.listen
	}
	if p.admin != "" {
		admin = p.admin
	}
	var resolvers string
	if p.resolvers != "" {
		resolvers = fmt.Sprintf(", resolvers: [%q]", p.resolvers)
	}
	text := fmt.Sprintf("cloud: public\nlisten: [{address: %q}]\nadmin: {address: %q}\nimds: {endpoint: %q}\nstate_dir: state\nupstream: {ca_file: roots.pem%s, connect_to: {%s: %q%s}}\n%sroutes:\n%s",
		listen, admin, machine.URL, resolvers, vaultHost, to, p.more, p.yaml, p.routes)
	file := filepath.Join(p.dir, "bearerd.yaml")
	for name, text := range map[string][]byte{caFile: root, file: []byte(text)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	if p.mode != 0 {
		if err := os.Chmod(file, p.mode); err != nil {
			p.t.Fatal(err)
		}
	}
	c, err := daemon.Load(file, true)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// examine runs doctor, and holds it to what is true of all its findings.
func (p *patient) examine(edit ...func(*examination)) findings {
	p.t.Helper()
	e, err := newExamination(p.config(), true)
	if err != nil {
		p.t.Fatal(err)
	}
	defer e.imds.Close()
	e.getenv = func(name string) string { return p.env[name] }
	e.proc = p.t.TempDir()
	e.hostsPath = filepath.Join(e.proc, "hosts")
	for _, f := range edit {
		f(e)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	all := findings(e.run(ctx))
	all.check(p.t)
	return all
}

type findings []finding

// check finds what no finding may be: without a way out, or with a token.
func (all findings) check(t *testing.T) {
	t.Helper()
	for _, f := range all {
		if f.Level >= levelWarn && f.Do == "" {
			t.Errorf("it does not tell what to do: %+v", f)
		}
	}
	var text, encoded bytes.Buffer
	if err := writeFindings(&text, all); err != nil {
		t.Fatal(err)
	}
	if err := writeFindingsJSON(&encoded, all); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String()+encoded.String(), "eyJ") {
		t.Errorf("there is a token in it:\n%s", &text)
	}
}

// want looks for a finding.
func (all findings) want(t *testing.T, check string, level level, seen, do string) finding {
	t.Helper()
	for _, f := range all {
		if f.Check == check && f.Level == level && strings.Contains(f.Subject+": "+f.Seen, seen) && strings.Contains(f.Do+" "+f.Command, do) {
			return f
		}
	}
	var text bytes.Buffer
	_ = writeFindings(&text, all)
	t.Errorf("no finding of %s (%d) has %q and %q:\n%s", check, level, seen, do, &text)
	return finding{}
}

// listening gives an address at which somebody accepts connections.
func listening(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// startHTTP answers every request with a text.
func startHTTP(t *testing.T, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	t.Cleanup(s.Close)
	return s.URL
}

// signedFor makes a server's certificate and the root that has signed it.
func signedFor(t *testing.T, hosts ...string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "the root of " + hosts[0]}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: hosts, NotBefore: root.NotBefore, NotAfter: root.NotAfter}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, rootDER}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
}

func TestDoctorOnAHealthyMachine(t *testing.T) {
	all := newPatient(t).examine()
	for _, f := range all {
		if f.Level > levelNote {
			t.Errorf("%+v", f)
		}
	}
	all.want(t, "version", levelOK, "bearerd ", "")
	all.want(t, "configuration", levelOK, "it is valid", "")
	all.want(t, "proxy variables", levelOK, "none is set", "")
	all.want(t, "IMDS", levelOK, ", by lo (127.0.0.1)", "")
	all.want(t, "token", levelOK, "it is valid for 24h", "")
	all.want(t, "identity", levelOK, "object id 5e1f0000-0000-4000-8000-0000000000b1", "")
	all.want(t, "DNS", levelOK, "by upstream.connect_to", "")
	all.want(t, "TLS", levelOK, "TLS 1.3 at 127.0.0.1:", "")
	all.want(t, "call", levelOK, "the identity may read the names of secrets", "")
	all.want(t, "clock", levelOK, "it agrees with", "")
	all.want(t, "authority", levelNote, "there is none yet", "")
	all.want(t, "daemon", levelNote, "no bearerd runs", "")
	all.want(t, "files", levelOK, "nobody else can", "")
	if err := verdictOf(all); err != nil {
		t.Error(err)
	}
}

// Each fault is caused, and found for what it is.
func TestDoctorFindsTheFault(t *testing.T) {
	for name, tt := range map[string]struct {
		cause func(*patient)
		check string
		level level
		seen  string
		do    string
	}{
		"throttled": {func(p *patient) { p.imds.Script(imdstest.Throttled(imdstest.Seconds(30)).Always()) },
			"token", levelFail, "IMDS throttles this machine", "look for other programs that ask IMDS"},
		"no identity": {func(p *patient) { p.imds.Script(imdstest.NotAssigned().Always()) },
			"token", levelFail, "status 400", "az vm identity assign"},
		"several identities": {func(p *patient) { p.yaml = "identity: {client_id: 00000000-0000-0000-0000-000000000009}\n" },
			"token", levelFail, "Identity not found", "az vm identity assign"},
		"a proxy that IMDS is asked through": {func(p *patient) { p.env["HTTP_PROXY"] = "http://proxy.corp.example:3128" },
			"proxy variables", levelWarn, "IMDS refuses it", "NO_PROXY"},
		"a clock ahead of the service's": {func(p *patient) { p.lateBy = -time.Hour },
			"clock", levelFail, "this machine's is ahead of " + vaultHost + "'s by 1h", "timedatectl"},
		"a clock behind the token's issuer": {func(p *patient) { p.imds.Script(imdstest.ClockOff(2 * time.Hour).Always()) },
			"clock", levelFail, "this machine's is behind", "timedatectl"},
		"no such way": {func(p *patient) { p.connectTo = "127.0.0.1:9" },
			"TCP", levelFail, "connection refused", "firewall or network security group"},
		"TLS that is opened in between": {func(p *patient) { p.untrusted = true },
			"TLS", levelFail, "the root of " + vaultHost, "upstream.ca_file"},
		"another host's certificate": {func(p *patient) { p.certHosts = []string{"another.vault.azure.net"} },
			"TLS", levelFail, "the certificate is for another.vault.azure.net", "connect_to and DNS"},
		"no role on the vault": {func(p *patient) {
			p.status, p.body = 403, `{"error":{"code":"Forbidden","message":"Caller is not authorized","innererror":{"code":"ForbiddenByRbac"}}}`
		}, "call", levelWarn, "403 ForbiddenByRbac: the identity may not read the names of secrets",
			`--assignee-object-id 5e1f0000-0000-4000-8000-0000000000b1 --assignee-principal-type ServicePrincipal --role "Key Vault Secrets User" --scope $(az keyvault show --name payroll`},
		"the vault's firewall": {func(p *patient) {
			p.status, p.body = 403, `{"error":{"code":"Forbidden","message":"Client address is not authorized","innererror":{"code":"ForbiddenByFirewall"}}}`
		}, "call", levelFail, "403 ForbiddenByFirewall", "network rules"},
		"storage's firewall": {func(p *patient) {
			p.status, p.header = 403, map[string]string{"X-Ms-Error-Code": "AuthorizationFailure"}
		},
			"call", levelFail, "403 AuthorizationFailure", "network rules"},
		"no role on the storage account": {func(p *patient) {
			p.status, p.header = 403, map[string]string{"X-Ms-Error-Code": "AuthorizationPermissionMismatch"}
		},
			"call", levelWarn, "AuthorizationPermissionMismatch", "az role assignment create"},
		"the wrong audience": {func(p *patient) {
			p.status, p.header = 401, map[string]string{"WWW-Authenticate": `Bearer authorization="https://login.windows.net/t", resource="https://managedhsm.azure.net"`}
		}, "call", levelFail, "it wants tokens for https://managedhsm.azure.net", "audience: https://managedhsm.azure.net"},
		"another tenant": {func(p *patient) {
			p.status, p.header = 401, map[string]string{"WWW-Authenticate": `Bearer authorization="https://login.windows.net/11111111-2222-3333-4444-555555555555", resource="https://vault.azure.net"`}
		}, "call", levelFail, "it belongs to the tenant 11111111-2222-3333-4444-555555555555", "identity of the service's tenant"},
		"a service that is busy": {func(p *patient) { p.status = 429 }, "call", levelWarn, "throttling", "later"},
		"a service that is ill":  {func(p *patient) { p.status = 500 }, "call", levelWarn, "500 no code", "documentation"},
		"a route that takes every write": {func(p *patient) {
			p.routes += "  - {service: arm, hosts: [westus.management.azure.com]}\n"
			p.more = ", westus.management.azure.com: \"127.0.0.1:9\""
		}, "configuration", levelWarn, "every method of Azure Resource Manager", "methods: [GET, HEAD]"},
		"the cloud is another": {func(p *patient) { p.imds = imdstest.New(imdstest.Options{Environment: "AzureUSGovernmentCloud"}) },
			"IMDS", levelWarn, "it names the cloud usgov, and the configuration says public", "correct cloud"},
		"another program at a listener": {func(p *patient) { p.listen = listening(p.t) },
			"listener", levelFail, "another program listens there", "ss -ltnp"},
		"something else at the admin address": {func(p *patient) { p.admin = strings.TrimPrefix(startHTTP(p.t, "hello"), "http://") },
			"daemon", levelFail, "no status of bearerd's", "ss -ltnp"},
		"a bearerd that is not ready": {func(p *patient) {
			p.admin = strings.TrimPrefix(startHTTP(p.t, `{"version": "0.9", "ready": false, "reasons": ["x"], "troubles": [{"severe": true, "text": "no token for x; assign one"}]}`), "http://")
		}, "daemon", levelFail, "no token for x", "assign one"},
		"a bearerd of another version": {func(p *patient) {
			p.admin = strings.TrimPrefix(startHTTP(p.t, `{"version": "0.9", "ready": true}`), "http://")
		}, "daemon", levelWarn, "it is of version 0.9", "restart it"},
		"a bearerd of another configuration": {func(p *patient) {
			p.admin = strings.TrimPrefix(startHTTP(p.t, `{"version": "0.9", "ready": true, "config": {"path": "/etc/other.yaml"}}`), "http://")
		}, "daemon", levelWarn, `it runs by "/etc/other.yaml"`, "--config"},
		"a configuration that was not loaded": {func(p *patient) {
			p.admin = strings.TrimPrefix(startHTTP(p.t, fmt.Sprintf(`{"version": "0.9", "ready": true, "config": {"path": %q, "loaded_at": "2020-01-01T00:00:00Z"}}`, filepath.Join(p.dir, "bearerd.yaml"))), "http://")
		}, "daemon", levelWarn, "changed since it was loaded", "reload"},
		"an authority that others read": {func(p *patient) {
			if err := os.Mkdir(filepath.Join(p.dir, "state"), 0o755); err != nil {
				p.t.Fatal(err)
			}
		}, "files", levelFail, "has mode 0755", "chmod 0700"},
		"a configuration that others write": {func(p *patient) { p.mode = 0o666 },
			"files", levelFail, "the configuration has mode 0666", "chmod 0644"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t)
			tt.cause(p)
			p.examine().want(t, tt.check, tt.level, tt.seen, tt.do)
		})
	}
}

// The whole is bounded, however many hosts answer nobody.
func TestDoctorEndsInTime(t *testing.T) {
	p := newPatient(t)
	p.imds.Script(imdstest.Hang().Always())
	c := p.config()
	began := time.Now()
	e, err := newExamination(c, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.imds.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	all := findings(e.run(ctx))
	all.check(t)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	all.want(t, "token", levelFail, "", "")
}

// With --no-probe no token leaves the machine.
func TestDoctorWithoutProbes(t *testing.T) {
	p := newPatient(t)
	called := make(chan struct{}, 10)
	p.service.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called <- struct{}{} })
	all := p.examine(func(e *examination) { e.probe = false })
	if i := slices.IndexFunc(all, func(f finding) bool { return f.Check == "call" }); i >= 0 || len(called) > 0 {
		t.Errorf("a call was made: %v", all)
	}
	all.want(t, "TLS", levelOK, "", "")
}

// Names are followed as the running bearerd follows them, and what lies behind
// them is told.
func TestDoctorTellsPrivateEndpoints(t *testing.T) {
	server := startDNS(t,
		"one.vault.azure.net. 60 IN CNAME one.privatelink.vaultcore.azure.net.", "one.privatelink.vaultcore.azure.net. 60 IN A 10.0.0.5",
		"two.vault.azure.net. 60 IN CNAME two.privatelink.vaultcore.azure.net.", "two.privatelink.vaultcore.azure.net. 60 IN CNAME data.vaultcore.azure.net.", "data.vaultcore.azure.net. 60 IN A 192.0.2.1",
		"three.vault.azure.net. 60 IN A 192.0.2.2", "four.vault.azure.net. 60 IN A 169.254.169.254", "six.vault.azure.net. 60 IN A 10.0.0.6",
	)
	p := newPatient(t)
	p.resolvers = server
	e, err := newExamination(p.config(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.imds.Close()
	var all findings
	for _, name := range []string{"one", "two", "three", "four", "five", "six"} {
		host := name + ".vault.azure.net"
		targets, byOperator, err := e.dialer.Lookup(t.Context(), host+":443")
		if err != nil {
			all = append(all, lookupFailed(host, err))
			continue
		}
		all = append(all, e.where(t.Context(), host, targets, byOperator))
	}
	all.check(t)
	all.want(t, "DNS", levelOK, "one.vault.azure.net: 10.0.0.5, a private endpoint", "")
	all.want(t, "DNS", levelWarn, "two.vault.azure.net: 192.0.2.1, a public address, though the name is an alias of a private endpoint's", "link the private DNS zone")
	all.want(t, "DNS", levelOK, "three.vault.azure.net: 192.0.2.2, a public address", "")
	all.want(t, "DNS", levelFail, "four.vault.azure.net: it leads to 169.254.169.254", "")
	all.want(t, "DNS", levelFail, "five.vault.azure.net: its name is not resolved: no such host", "private DNS zone")
	all.want(t, "DNS", levelOK, "six.vault.azure.net: 10.0.0.6, a private address", "")
}

// startDNS answers questions for a zone by UDP.
func startDNS(t *testing.T, zone ...string) string {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var records []dns.RR
	for _, line := range zone {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	s := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg).SetReply(q)
		known := false
		for _, rr := range records {
			if rr.Header().Name != q.Question[0].Name {
				continue
			}
			known = true
			if kind := rr.Header().Rrtype; kind == q.Question[0].Qtype || kind == dns.TypeCNAME {
				r.Answer = append(r.Answer, rr)
			}
		}
		if !known {
			r.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(r)
	})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.ActivateAndServe()
	}()
	t.Cleanup(func() {
		packets.Close()
		<-ended
	})
	return packets.LocalAddr().String()
}

func TestDoctorSpeaksJSON(t *testing.T) {
	p := newPatient(t)
	p.untrusted = true
	p.config()
	var out, errs bytes.Buffer
	if code := run([]string{"doctor", "--json", "--config", filepath.Join(p.dir, "bearerd.yaml")}, &out, &errs); code != exitFailed {
		t.Errorf("exit code %d: %s", code, &errs)
	}
	var got struct {
		Worst    string
		Findings []struct{ Check, Level, Seen, Do string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Worst != "fail" || len(got.Findings) < 8 {
		t.Errorf("%s", &out)
	}
}

// The exit code is the worst finding's.
func TestDoctorExitCodes(t *testing.T) {
	for want, cause := range map[int]func(*patient){
		exitOK:     func(*patient) {},
		exitWarned: func(p *patient) { p.status = 403 },
		exitFailed: func(p *patient) { p.imds.Script(imdstest.NotAssigned().Always()) },
	} {
		p := newPatient(t)
		cause(p)
		p.config()
		t.Setenv("HTTP_PROXY", "")
		t.Setenv("http_proxy", "")
		var out, errs bytes.Buffer
		if code := run([]string{"doctor", "--config", filepath.Join(p.dir, "bearerd.yaml")}, &out, &errs); code != want {
			t.Errorf("exit code %d, want %d:\n%s%s", code, want, &out, &errs)
		}
	}
}

func TestFindingsFitATerminal(t *testing.T) {
	const long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
	var out bytes.Buffer
	if err := writeFindings(&out, []finding{{Check: "call", Level: levelFail, Subject: vaultHost, Seen: long, Do: long, Command: strings.Repeat("az ", 40)}}); err != nil {
		t.Fatal(err)
	}
	const want = `FAIL  call: payroll.vault.azure.net: one two three four five six seven eight
      nine ten eleven twelve thirteen fourteen fifteen sixteen
      -> one two three four five six seven eight nine ten eleven twelve thirteen
         fourteen fifteen sixteen
`
	if got, _, _ := strings.Cut(out.String(), "         az"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !strings.HasSuffix(out.String(), strings.Repeat("az ", 40)+"\n") {
		t.Error("a command is not in one piece")
	}
}
