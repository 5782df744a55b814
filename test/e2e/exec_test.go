//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// executor runs `bearerd exec` with a configuration that leads to fake services.
type executor struct {
	d   *rig.Daemon
	tmp string // TMPDIR of exec
}

func newExecutor(t *testing.T) *executor {
	t.Helper()
	imds := rig.StartIMDS(t, imdstest.Options{})
	cloud := imds.StartCloud(t, azuretest.Options{})
	cloud.Vault.SetSecret(vaultHost, "x", "open sesame")
	return &executor{
		d:   env.Prepare(t, rig.Settings{IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), Routes: vaultRoute}),
		tmp: t.TempDir(),
	}
}

// command is `bearerd exec` with flags, "--" and a command.
func (x *executor) command(args ...string) *exec.Cmd {
	cmd := exec.Command(env.Bin, append([]string{"exec", "--config", x.d.Config}, args...)...)
	cmd.Env = append(env.BaseEnv(), "TMPDIR="+x.tmp)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// left requires that nothing of an exec is left.
func (x *executor) left(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(x.tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "bearerd-") {
			t.Errorf("%s is left", entry.Name())
		}
	}
}

const secretURL = "https://" + vaultHost + "/secrets/x?api-version=7.4"

func execFile(name string) string { return filepath.Join(env.Source, "testdata", "exec", name) }

// Programs that know of no proxy, no authority and no credential read a secret.
func TestExecLendsTheIdentityToUnchangedPrograms(t *testing.T) {
	x := newExecutor(t)
	program := filepath.Join(t.TempDir(), "secret")
	rig.Run(t, append(os.Environ(), "CGO_ENABLED=0"), "", "go", "build", "-o", program, execFile("secret.go"))
	for name, argv := range map[string][]string{
		"curl":     {"bash", execFile("secret.sh")},
		"urllib":   {rig.Python, execFile("secret.py")},
		"requests": {rig.Python, execFile("secret_requests.py")},
		"Node":     {"node", filepath.Join(env.NPM, "secret.mjs")},
		"Java":     {"java", execFile("Secret.java")},
		"Go":       {program},
		"Perl":     {"perl", execFile("secret.pl")},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := x.command(append(append([]string{"--"}, argv...), secretURL)...)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil || out.String() != "open sesame\n" {
				t.Errorf("%v: it said %q\n%s", err, &out, &errs)
			}
			// The JVM tells of its variable, and nobody else of anything.
			if said := errs.String(); said != "" && (name != "Java" || strings.Count(said, "\n") != 1) {
				t.Errorf("standard error has:\n%s", said)
			}
			x.left(t)
		})
	}
}

// The running bearerd serves the command as well as an own proxy does.
func TestExecUsesTheRunningBearerd(t *testing.T) {
	x := newExecutor(t)
	cmd := x.command("--use-running", "--", "bash", execFile("secret.sh"), secretURL)
	if text, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(text), "start it with `bearerd run`") {
		t.Errorf("without a bearerd: %v\n%s", err, text)
	}
	x.d.Start(t)
	x.d.ExportRoot(t)
	for _, flags := range [][]string{{"--use-running"}, {"--use-running", "--root", x.d.Root}} {
		text, err := x.command(append(flags, "--", "bash", execFile("secret.sh"), secretURL)...).CombinedOutput()
		if err != nil || string(text) != "open sesame\n" {
			t.Errorf("%q: %v\n%s", flags, err, text)
		}
	}
	if n := len(x.d.IMDS.Minted()); n != 1 {
		t.Errorf("IMDS was asked for %d tokens, want one by the running bearerd", n)
	}
	x.left(t)
}

func TestExecExitsAsTheCommandDoes(t *testing.T) {
	x := newExecutor(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("not a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		said string // on standard error
	}{
		{[]string{"--", "true"}, 0, ""},
		{[]string{"--", "sh", "-c", "exit 3"}, 3, ""},
		{[]string{"sh", "-c", "exit 4"}, 4, ""}, // without "--"
		{[]string{"--", "sh", "-c", "kill -TERM $$"}, 143, ""},
		{[]string{"--", "sh", "-c", "kill -KILL $$"}, 137, ""},
		{[]string{"--", "no-such-program"}, 127, "no-such-program is not found"},
		{[]string{"--", plain}, 126, "cannot be run"},
		{[]string{"--log", "/no/such/folder/log", "--", "true"}, 125, "--log: "},
		{[]string{"--"}, 2, "COMMAND is missing"},
		{[]string{"--root", plain, "--", "true"}, 2, "--root is for --use-running"},
	} {
		cmd := x.command(test.args...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		_ = cmd.Run()
		said := errs.String()
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(said, test.said) || (test.said == "") != (said == "") {
			t.Errorf("%q: exit code %d, want %d; it said %q", test.args, code, test.code, said)
		}
	}
	// Standard input and output are the command's own.
	cmd := x.command("--", "sh", "-c", "cat; echo err >&2")
	cmd.Stdin = strings.NewReader("through\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if out, err := cmd.Output(); err != nil || string(out) != "through\n" || errs.String() != "err\n" {
		t.Errorf("got %q and %q, %v", out, &errs, err)
	}
	x.left(t)
}

// What a supervisor sends reaches the command, which decides.
func TestExecPassesSignalsOn(t *testing.T) {
	x := newExecutor(t)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2} {
		for script, code := range map[string]int{
			`trap 'exit 5' TERM HUP INT QUIT USR1 USR2; echo ready; while :; do sleep 0.1; done`: 5,
			`echo ready; exec sleep 60`: int(128 + s),
		} {
			p := x.launch(t, script)
			p.Signal(t, s)
			if got := p.Exited(t, 20*time.Second); got != code {
				t.Errorf("%v: exit code %d, want %d:\n%s", s, got, code, p.Out)
			}
			x.left(t)
		}
	}
}

// The command does not go on with a proxy that is not there.
func TestExecTakesTheCommandAlongWhenKilled(t *testing.T) {
	x := newExecutor(t)
	ended := filepath.Join(t.TempDir(), "ended")
	p := x.launch(t, "trap 'echo yes >"+ended+"; exit' TERM; echo ready; while :; do sleep 0.1; done")
	p.Signal(t, syscall.SIGKILL)
	rig.Eventually(t, "the command has ended", func() error {
		_, err := os.Stat(ended)
		return err
	})
	// What nobody could remove has no key.
	var found int
	err := filepath.WalkDir(x.tmp, func(path string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		found++
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("PRIVATE KEY")) {
			t.Errorf("%s has a private key", path)
		}
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("%d files were looked at: %v", found, err)
	}
}

// launch starts exec with a script that says when it is ready.
func (x *executor) launch(t *testing.T, script string) *rig.Process {
	t.Helper()
	p, err := rig.Launch(append(env.BaseEnv(), "TMPDIR="+x.tmp), "", env.Bin, "exec", "--config", x.d.Config, "--", "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	rig.Eventually(t, "the command is ready", func() error {
		if !strings.Contains(p.Out.String(), "ready") {
			return fmt.Errorf("it said %q", p.Out)
		}
		return nil
	})
	return p
}

// At a terminal, with a shell's job control, in a pipeline: Ctrl-C comes once,
// Ctrl-Z stops, fg goes on.
func TestExecAtATerminal(t *testing.T) {
	x := newExecutor(t)
	text := rig.Run(t, append(env.BaseEnv(), "TMPDIR="+x.tmp), "", rig.Python, execFile("terminal.py"), env.Bin, x.d.Config)
	if text != "ok\n" {
		t.Errorf("it said:\n%s", text)
	}
	x.left(t)
}
