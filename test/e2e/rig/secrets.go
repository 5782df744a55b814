package rig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// searchForSecrets looks through log, audit stream, metrics, status and all that clients
// were shown for tokens, for the authority's keys and for the credential that
// callers bring.
func (d *Daemon) searchForSecrets(t *testing.T) {
	t.Helper()
	secrets := map[string]string{"the caller's credential": CallerCredential}
	if d.IMDS != nil {
		for i, token := range d.IMDS.Minted() {
			secrets[fmt.Sprintf("token %d", i)] = token
			// A log that cuts a long value must not show its signature either.
			secrets[fmt.Sprintf("the signature of token %d", i)] = token[strings.LastIndexByte(token, '.')+1:]
		}
	}
	for i, key := range privateKeys(t, d.State) {
		secrets[fmt.Sprintf("key %d of the authority", i)] = key
	}
	audit, err := os.ReadFile(d.Audit)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // it may not have come so far
		t.Error(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, leak := range leaks(secrets, map[string]string{
		"the log":                        d.Out.String(),
		"the audit stream":               string(audit),
		"an answer, /metrics or /status": d.seen.String(),
	}) {
		t.Error(leak)
	}
}

// leaks says which secret is in which place.
func leaks(secrets, places map[string]string) (found []string) {
	for what, secret := range secrets {
		for place, text := range places {
			if strings.Contains(text, secret) {
				found = append(found, what+" is in "+place)
			}
		}
	}
	return found
}

// CallerCredential is what clients send where they bring a credential of their
// own that is no credential.
const CallerCredential = "canary-of-the-caller-4711"

// privateKeys gives a recognisable line of each private key under dir.
func privateKeys(t *testing.T, dir string) (lines []string) {
	t.Helper()
	block := regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\n(\S+)\n(\S+)\n`)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			// The first line starts alike in all keys of a kind.
			lines = append(lines, m[2])
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return lines
}
