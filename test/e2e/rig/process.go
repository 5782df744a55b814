package rig

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Output collects what a process prints and wakes those who wait for a line.
type Output struct {
	mu      sync.Mutex // guards the fields below
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

// String gives what was printed so far.
func (o *Output) String() string {
	text, _ := o.snapshot()
	return text
}

func (o *Output) snapshot() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed
}

// Process is one program that was started. Whoever started it stops it; the
// kernel ends it should the test process die first.
type Process struct {
	Cmd  *exec.Cmd
	Out  *Output       // stdout and stderr together
	Done chan struct{} // closed when the process has been waited for
	Err  error         // what Wait gave; read after Done
}

// Launch starts a program and waits for its end in the background.
func Launch(env []string, dir, name string, args ...string) (*Process, error) {
	p := &Process{Cmd: exec.Command(name, args...), Out: &Output{changed: make(chan struct{})}, Done: make(chan struct{})}
	p.Cmd.Env, p.Cmd.Dir, p.Cmd.SysProcAttr = env, dir, attributes()
	p.Cmd.Stdout, p.Cmd.Stderr = p.Out, p.Out
	// A grandchild that keeps the pipe open must not hold Wait up.
	p.Cmd.WaitDelay = 5 * time.Second
	started := make(chan error)
	go func() {
		// The kernel ends the process with the thread that started it, which may
		// be one that a namespace takes along to its end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.Cmd.Start()
		started <- err
		if err == nil {
			defer close(p.Done)
			p.Err = p.Cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Stop ends the process politely, then by force.
func (p *Process) Stop() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(10 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.Done
	}
}

// Signal sends the process a signal.
func (p *Process) Signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v to pid %d: %v", s, p.Cmd.Process.Pid, err)
	}
}

// Exited waits for the process to end and gives its exit code.
func (p *Process) Exited(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.Done:
		return p.Cmd.ProcessState.ExitCode()
	case <-time.After(within):
		t.Fatalf("pid %d has not ended within %v; it said:\n%s", p.Cmd.Process.Pid, within, p.Out)
		return -1
	}
}

// waitFor waits until the process has printed a match for each pattern, and
// gives the first group of each (or the whole match).
func (p *Process) waitFor(ctx context.Context, patterns ...string) ([]string, error) {
	for {
		text, changed := p.Out.snapshot()
		found := make([]string, 0, len(patterns))
		for _, pattern := range patterns {
			if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
				found = append(found, m[len(m)-1])
			}
		}
		if len(found) == len(patterns) {
			return found, nil
		}
		select {
		case <-changed:
		case <-p.Done:
			return nil, errors.New("it ended first and said:\n" + p.Out.String())
		case <-ctx.Done():
			return nil, errors.New("not seen in time; it said:\n" + p.Out.String())
		}
	}
}

// Run runs a program to its end and gives its output; a failure fails the test
// with what the program said.
func Run(t *testing.T, env []string, dir, name string, args ...string) string {
	t.Helper()
	text, err := Try(t, env, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, text)
	}
	return text
}

// Try is Run for programs that are meant to fail, perhaps.
func Try(t *testing.T, env []string, dir, name string, args ...string) (string, error) {
	t.Helper()
	p, err := Launch(env, dir, name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	select {
	case <-p.Done:
	case <-time.After(4 * time.Minute):
		_ = p.Cmd.Process.Kill()
		<-p.Done
	}
	return p.Out.String(), p.Err
}
