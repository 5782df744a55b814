package main

import (
	"bytes"
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/bearerd/bearerd/imds/imdstest"
)

var update = flag.Bool("update", false, "write docs/commands.md and the manual page")

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
	const routes = "routes:\n  - {service: keyvault}\n  - {service: storage}\nstate_dir: state\n" +
		"listen: [{address: \"127.0.0.1:1\"}]\nadmin: {address: \"127.0.0.1:2\"}\n" // where nobody is
	return map[string]string{
		"imds.yaml":    "cloud: public\nimds: {endpoint: \"" + endpoint + "\"}\n" + routes,
		"unknown.yaml": "cloud: public\nimds: {endpoint: \"" + endpoint + "\"}\nidentity: {client_id: 00000000-0000-0000-0000-000000000009}\n" + routes,
	}
}

// Where IMDS is to name the cloud, the tokens asked for are that cloud's, as a
// running bearerd's are.
func TestTokenAsksForTheAudiencesOfTheCloudThatIMDSNames(t *testing.T) {
	server := httptest.NewServer(imdstest.New(imdstest.Options{Environment: "AzureUSGovernmentCloud"}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "bearerd.yaml")
	if err := os.WriteFile(file, []byte("imds: {endpoint: \""+server.URL+"\"}\nroutes: [{service: keyvault}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"token", "--config", file}, &out, &errs); code != exitOK || !strings.Contains(out.String(), "https://vault.usgovcloudapi.net\n") {
		t.Errorf("exit code %d\n%s%s", code, &out, &errs)
	}
}

// A policy that adds a system-assigned identity would change whose tokens are
// used, so doctor tells once how to name the one that IMDS picks.
func TestDoctorTellsToPinTheIdentity(t *testing.T) {
	reports := imdstest.Identity{ClientID: "11111111-1111-1111-1111-111111111111", ObjectID: "o1",
		ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"}
	server := httptest.NewServer(imdstest.New(imdstest.Options{NoSystem: true, Identities: []imdstest.Identity{reports}}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "bearerd.yaml")
	const line = `identity: {client_id: "11111111-1111-1111-1111-111111111111"}`
	for pinned, want := range map[string]int{"": 1, line + "\n": 0} {
		if err := os.WriteFile(file, []byte(pinned+imdsConfigs(server.URL)["imds.yaml"]), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		code := run([]string{"doctor", "--config", file}, &out, &errs)
		if warned := code == exitWarned; code != exitOK && !warned || warned != (want == 1) {
			t.Errorf("exit code %d\n%s%s", code, &out, &errs)
		}
		text := strings.Join(strings.Fields(out.String()), " ") // lines are folded
		if n := strings.Count(text, reports.ResourceID+"; IMDS picks it for none is configured"); n != want {
			t.Errorf("told %d times, want %d:\n%s", n, want, &out)
		}
		if n := strings.Count(out.String(), "         "+line+"\n"); n != want {
			t.Errorf("the line is there %d times, want %d:\n%s", n, want, &out)
		}
	}
}

// A token that nobody has received must not look as if it were given.
func TestTokenThatCannotBeWrittenIsAFailure(t *testing.T) {
	server := httptest.NewServer(imdstest.New(imdstest.Options{}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "bearerd.yaml")
	if err := os.WriteFile(file, []byte(imdsConfigs(server.URL)["imds.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"token", "--config", file, "--audience", "https://vault.azure.net"}
	for _, args := range [][]string{args, append(args, "--show-token")} {
		if code := run(args, fullDisk{}, io.Discard); code != exitFailed {
			t.Errorf("%q gave exit code %d", args, code)
		}
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

// Write implements io.Writer.
func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestReference(t *testing.T) {
	for _, tt := range []struct {
		file  []string
		write func(io.Writer, *cobra.Command) error
	}{
		{[]string{"docs", "commands.md"}, writeReference},
		{[]string{"deploy", "package", "bearerd.1"}, writeManual},
	} {
		var page bytes.Buffer
		if err := tt.write(&page, newCommand(io.Discard, io.Discard)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(append([]string{"..", ".."}, tt.file...)...)
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
}
