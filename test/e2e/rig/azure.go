package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
)

// Azurite is Microsoft's storage emulator, over TLS and asking for bearer tokens.
type Azurite struct {
	*Process
	Blob, Queue, Table string // host:port
}

// The names of Azurite's account.
const (
	BlobHost  = "acct.blob.core.windows.net"
	QueueHost = "acct.queue.core.windows.net"
	TableHost = "acct.table.core.windows.net"
)

// StartAzurite starts Azurite in memory for the account acct on ports of the
// kernel's choice. The caller stops it.
func (r *Rig) StartAzurite() (*Azurite, error) {
	cert, key, err := r.CA.issue(BlobHost, QueueHost, TableHost)
	if err != nil {
		return nil, err
	}
	certFile, keyFile := filepath.Join(r.Dir, "azurite.pem"), filepath.Join(r.Dir, "azurite.key")
	if err := errors.Join(os.WriteFile(certFile, cert, 0o600), os.WriteFile(keyFile, key, 0o600)); err != nil {
		return nil, err
	}
	p, err := Launch(append(r.BaseEnv(), "AZURITE_ACCOUNTS=acct:Y2FuYXJ5LXNoYXJlZC1rZXk="), r.Dir,
		"node", filepath.Join(r.NPM, "node_modules", "azurite", "dist", "src", "azurite.js"),
		"--oauth", "basic", "--cert", certFile, "--key", keyFile, "--skipApiVersionCheck", "--disableTelemetry",
		"--inMemoryPersistence", "--extentMemoryLimit", "2048", "--silent",
		"--blobHost", "127.0.0.1", "--queueHost", "127.0.0.1", "--tableHost", "127.0.0.1",
		"--blobPort", "0", "--queuePort", "0", "--tablePort", "0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	found, err := p.waitFor(ctx,
		`Blob service is successfully listening at https://(\S+)`,
		`Queue service is successfully listening at https://(\S+)`,
		`Table service is successfully listening at https://(\S+)`)
	if err != nil {
		p.Stop()
		return nil, err
	}
	return &Azurite{Process: p, Blob: found[0], Queue: found[1], Table: found[2]}, nil
}

// ConnectTo leads the account's names to where it is, for Settings.Upstream.
func (a *Azurite) ConnectTo() map[string]string {
	return map[string]string{BlobHost: a.Blob, QueueHost: a.Queue, TableHost: a.Table}
}

// IMDS is imdstest's handler on loopback, and remembers every token that it
// gave out, so that the tests can look for them where none may be.
type IMDS struct {
	*imdstest.Server
	URL string

	mu     sync.Mutex // guards tokens
	tokens []string
}

// StartIMDS starts an emulated IMDS, which ends with the test.
func StartIMDS(t *testing.T, o imdstest.Options) *IMDS {
	t.Helper()
	e := &IMDS{Server: imdstest.New(o)}
	s := httptest.NewServer(e)
	t.Cleanup(s.Close)
	e.URL = s.URL
	return e
}

// ServeHTTP passes the emulator's answer on and notes the token in it.
func (e *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := httptest.NewRecorder()
	e.Server.ServeHTTP(rec, r)
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(rec.Body.Bytes(), &body) == nil && body.AccessToken != "" {
		e.mu.Lock()
		e.tokens = append(e.tokens, body.AccessToken)
		e.mu.Unlock()
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = io.Copy(w, bytes.NewReader(rec.Body.Bytes()))
}

// Minted gives every token that was given out, in order.
func (e *IMDS) Minted() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.tokens...)
}

// StartCloud starts the fake services, which take this IMDS's tokens. They end
// with the test, and fail it for anything that no proxy may ever forward.
func (e *IMDS) StartCloud(t *testing.T, o azuretest.Options) *azuretest.Cloud {
	t.Helper()
	o.Tenant, o.Key = e.Tenant(), e.PublicKey()
	c, err := azuretest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, what := range c.Recorder.Violations() {
			t.Errorf("a fake service was sent what no proxy may forward: %s", what)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
