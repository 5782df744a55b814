package main

import (
	"bytes"
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/bearerd/bearerd/imds/imdstest"
)

var update = flag.Bool("update", false, "write docs/commands.md")

// The scripts run this test binary as bearerd.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bearerd": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// Each script drives the command as a person at a shell does. Configurations
// that lead to an emulated IMDS are there for those that ask it.
func TestScripts(t *testing.T) {
	server := httptest.NewServer(imdstest.New(imdstest.Options{}))
	t.Cleanup(server.Close) // the scripts run after this function
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for name, text := range imdsConfigs(server.URL) {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), []byte(text), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func imdsConfigs(endpoint string) map[string]string {
	const routes = "routes:\n  - {service: keyvault}\n  - {service: storage}\nstate_dir: state\n"
	return map[string]string{
		"imds.yaml":    "cloud: public\nimds: {endpoint: \"" + endpoint + "\"}\n" + routes,
		"unknown.yaml": "cloud: public\nimds: {endpoint: \"" + endpoint + "\"}\nidentity: {client_id: 00000000-0000-0000-0000-000000000009}\n" + routes,
	}
}

func TestReference(t *testing.T) {
	var page bytes.Buffer
	if err := writeReference(&page, newCommand(io.Discard, io.Discard)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", "docs", "commands.md")
	if *update {
		if err := os.WriteFile(file, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, page.Bytes()) {
		t.Errorf("%s differs from the commands; run: go test ./cmd/bearerd -run TestReference -update", file)
	}
}
