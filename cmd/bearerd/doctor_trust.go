package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority"
)

// askTimeout bounds how long one runtime may take to connect.
const askTimeout = 15 * time.Second

// runtimeCheck is a runtime and how it is asked whether it trusts the authority: by
// a program of its own that makes a call to a server which the authority has
// signed. That says more than a look at files, for where a runtime looks depends on
// how it was built, on its environment and on its distribution.
type runtimeCheck struct {
	name    string
	program string // empty: our own runtime
	// args make a call to URL, or to ADDR directly with the name HOST.
	args []string
	mend string // what makes it trust the authority
}

const (
	askPython = "import sys, urllib.request\nurllib.request.urlopen(sys.argv[1], timeout=10)"
	// It connects to nobody where there is no such package.
	askRequests = "import sys\ntry:\n import requests\nexcept ImportError:\n sys.exit(0)\nrequests.get(sys.argv[1], timeout=10)"
	askNode     = `const [host, port] = process.argv[2].split(":");
require("tls").connect({host, port, servername: process.argv[1]}, function () { this.end("GET / HTTP/1.0\r\n\r\n") })`
)

// runtimeChecks know the runtimes that were tried; others follow one of them, mostly
// OpenSSL.
func runtimeChecks() []runtimeCheck {
	bundle := func(variable string) string {
		return "set " + variable + " to what `bearerd ca bundle --out FILE` writes"
	}
	return []runtimeCheck{
		{"Go", "", nil, bundle("SSL_CERT_FILE")},
		{"curl", "curl", []string{"--silent", "--max-time", "10", "--output", os.DevNull, "URL"}, bundle("CURL_CA_BUNDLE")},
		{"git", "git", []string{"ls-remote", "URL"}, bundle("GIT_SSL_CAINFO")},
		{"OpenSSL", "openssl", []string{"s_client", "-connect", "ADDR", "-servername", "HOST", "-verify_hostname", "HOST", "-verify_return_error"}, bundle("SSL_CERT_FILE")},
		{"Python", "python3", []string{"-c", askPython, "URL"}, bundle("SSL_CERT_FILE")},
		{"Python's requests", "python3", []string{"-c", askRequests, "URL"}, bundle("REQUESTS_CA_BUNDLE")},
		{"Node.js", "node", []string{"-e", askNode, "HOST", "ADDR"}, "set NODE_EXTRA_CA_CERTS to what `bearerd ca export --out FILE` writes"},
		// keytool reads what it prints over the runtime's own HTTPS, and comes with it.
		{"Java", "keytool", []string{"-J-Dhttps.proxyHost=127.0.0.1", "-J-Dhttps.proxyPort=PORT", "-printcrl", "-file", "URL"}, "import what `bearerd ca export` writes by `keytool -importcert -cacerts -alias bearerd`"},
	}
}

// trust tells which of the runtimes on this machine trust the authority, as seen
// from the environment that doctor runs in. Not all of them are used, so that one
// that does not is no warning.
func (e *examination) trust(ctx context.Context) []finding {
	trusting, others, err := askRuntimes(ctx, daemon.AuthorityOptions(e.config, e.table))
	if err != nil {
		return nil // authorities has told why
	}
	var found []finding
	for _, r := range others {
		found = append(found, finding{Check: "trust", Level: levelNote, Subject: r.name, Seen: "it does not trust the authority, and has to unless it calls by base URL",
			Do: r.mend + ", run `bearerd ca install`, or start the app by `bearerd exec`"})
	}
	if len(trusting) > 0 {
		var names []string
		for _, r := range trusting {
			names = append(names, r.name)
		}
		found = append(found, finding{Check: "trust", Seen: "the authority is trusted by " + strings.Join(names, ", ")})
	}
	return found
}

// askRuntimes asks every runtime that is here, all at once, whether it trusts the
// authority. One that calls nobody is in neither list.
func askRuntimes(ctx context.Context, o authority.Options) (trusting, others []runtimeCheck, err error) {
	root, err := authority.Load(o)
	if err != nil {
		return nil, nil, err
	}
	host := "bearerd-doctor." + root.Permitted()[0]
	o.Permit, o.Wildcards, o.Also = []string{host}, nil, nil
	o.Routed = func(name string) bool { return name == host }
	a, err := authority.Open(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	defer a.Close()
	leaf, err := a.Leaf(ctx, host)
	if err != nil {
		return nil, nil, err
	}
	checks := runtimeChecks()
	answers := make([]trustAnswer, len(checks))
	var all sync.WaitGroup
	for i, r := range checks {
		all.Go(func() { answers[i] = r.ask(ctx, leaf, host) })
	}
	all.Wait()
	for i, r := range checks {
		switch answers[i] {
		case trusts:
			trusting = append(trusting, r)
		case refuses:
			others = append(others, r)
		}
	}
	return trusting, others, nil
}

// trustAnswer is what a runtime made of the certificate.
type trustAnswer uint8

const (
	silent  trustAnswer = iota // it did not connect, and so has not seen it
	refuses                    // it broke off
	trusts                     // it sent its request
)

// ask has the runtime call a server of ours, and looks whether it sends a request:
// what it prints differs by version and language.
func (r runtimeCheck) ask(ctx context.Context, leaf *tls.Certificate, host string) trustAnswer {
	if r.program == "" {
		return askGo(leaf, host)
	}
	if _, err := exec.LookPath(r.program); err != nil {
		return silent
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return silent
	}
	var connected, asked atomic.Bool
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// All ends with the program, a connection that hangs too.
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			serving.Go(func() {
				defer stop()
				defer conn.Close()
				receive(conn, leaf, &connected, &asked)
			})
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	fill := strings.NewReplacer("URL", "https://"+host+"/", "ADDR", l.Addr().String(), "HOST", host, "PORT", port)
	cmd := exec.CommandContext(ctx, r.program)
	for _, arg := range r.args {
		cmd.Args = append(cmd.Args, fill.Replace(arg))
	}
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n") // for openssl
	proxy := "http://" + l.Addr().String()
	cmd.Env = append(os.Environ(), "HTTPS_PROXY="+proxy, "https_proxy="+proxy, "NO_PROXY=", "no_proxy=", "ALL_PROXY=", "all_proxy=", "GIT_TERMINAL_PROMPT=0")
	cmd.Dir = filepath.Clean(os.TempDir()) // no repository's settings
	_ = cmd.Run()                          // the server has seen what counts
	l.Close()
	cancel()
	serving.Wait()
	switch {
	case asked.Load():
		return trusts
	case connected.Load():
		return refuses
	}
	return silent
}

// askGo asks the runtime that we are written in.
func askGo(leaf *tls.Certificate, host string) trustAnswer {
	between := x509.NewCertPool()
	for _, der := range leaf.Certificate[1:] {
		if cert, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(cert)
		}
	}
	if _, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: host, Intermediates: between}); err != nil {
		return refuses
	}
	return trusts
}

// receive takes a CONNECT, if one comes first, a handshake and a request.
func receive(conn net.Conn, leaf *tls.Certificate, connected, asked *atomic.Bool) {
	buffered := bufio.NewReader(conn)
	first, err := buffered.Peek(1)
	if err != nil {
		return
	}
	if first[0] == 'C' {
		if _, err := http.ReadRequest(buffered); err != nil {
			return
		}
		if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
			return
		}
	}
	connected.Store(true)
	server := tls.Server(peeked{conn, buffered}, &tls.Config{Certificates: []tls.Certificate{*leaf}})
	// GnuTLS and Node.js judge the certificate only after the handshake: what tells
	// is whether they then send their request.
	if n, _ := server.Read(make([]byte, 1)); n == 0 {
		return
	}
	asked.Store(true)
	_, _ = server.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	_ = server.Close()
}

// peeked is a connection whose first bytes were looked at.
type peeked struct {
	net.Conn
	from *bufio.Reader
}

// Read implements net.Conn.
func (p peeked) Read(b []byte) (int, error) { return p.from.Read(b) }
