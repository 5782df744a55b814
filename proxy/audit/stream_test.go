package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is what a stream writes to, which can be full, or not answer.
type pipe struct {
	mu    sync.Mutex // guards what follows
	text  strings.Builder
	room  int           // bytes; negative: endless
	stuck chan struct{} // a write waits for it; nil: none does
}

// Write implements io.Writer.
func (p *pipe) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stuck != nil {
		<-p.stuck
	}
	n := len(text)
	if p.room >= 0 && n > p.room {
		n = p.room
	}
	p.text.Write(text[:n])
	if p.room >= 0 {
		p.room -= n
	}
	if n < len(text) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (p *pipe) allow(room int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room = room
}

// records reads back what was written.
func (p *pipe) records(t *testing.T) []Record {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	return parse(t, p.text.String())
}

func parse(t *testing.T, text string) []Record {
	t.Helper()
	var all []Record
	for line := range strings.Lines(text) {
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		var r Record
		if err := d.Decode(&r); err != nil {
			t.Fatalf("the line %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// counts are what a stream told of itself.
type counts struct {
	mu            sync.Mutex // guards what follows
	written, lost int
	failing       []bool
}

func (c *counts) options() Options {
	return Options{
		To:      Stdout,
		Written: func(n int) { c.mu.Lock(); defer c.mu.Unlock(); c.written += n },
		Lost:    func(n int) { c.mu.Lock(); defer c.mu.Unlock(); c.lost += n },
		Failing: func(now bool) { c.mu.Lock(); defer c.mu.Unlock(); c.failing = append(c.failing, now) },
	}
}

func (c *counts) want(t *testing.T, written, lost int, failing ...bool) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written != written || c.lost != lost || !reflect.DeepEqual(c.failing, failing) {
		t.Errorf("told of %d written, %d lost and failing %v; want %d, %d and %v", c.written, c.lost, c.failing, written, lost, failing)
	}
}

func open(t *testing.T, o Options) *Stream {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call makes a call that is recorded.
func call(t *testing.T, s *Stream, path string) {
	t.Helper()
	if err := s.Reserve(); err != nil {
		t.Fatal(err)
	}
	s.Write(Record{Event: Call, Path: path})
}

func TestEveryRecordIsWrittenInOrder(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		p, c := &pipe{room: -1}, &counts{}
		o := c.options()
		o.Stdout, o.Refuse = p, refuse
		s := open(t, o)
		const n = 3000
		var want []string
		for range n {
			want = append(want, "/"+strings.Repeat("x", len(want)%100))
			call(t, s, want[len(want)-1])
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		got := p.records(t)
		if len(got) != n {
			t.Fatalf("%d records were written, want %d", len(got), n)
		}
		for i := range got {
			if got[i].Path != want[i] {
				t.Fatalf("record %d is of %q, want %q", i, got[i].Path, want[i])
			}
		}
		c.want(t, n, 0)
	}
}

// A full disk ends no line in its middle for good, loses nothing, and with
// on_error: refuse lets no call out.
func TestFullDiskRefusesCallsUntilThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		p, c := &pipe{room: -1}, &counts{}
		o := c.options()
		o.Stdout, o.Refuse, o.Logger = p, true, zap.New(core)
		s := open(t, o)
		call(t, s, "/one")
		synctest.Wait()
		if err := s.Reserve(); err != nil { // under way when the disk fills
			t.Fatal(err)
		}
		p.allow(30)
		call(t, s, "/two")
		synctest.Wait()
		if err := s.Reserve(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a call was let out: %v", err)
		}
		if err := s.State(); err == nil {
			t.Error("the state tells nothing of it")
		}
		s.Write(Record{Event: Call, Path: "/under-way"})
		p.allow(10)
		time.Sleep(time.Minute)
		c.want(t, 1, 0, true)
		p.allow(-1)
		time.Sleep(lastRetry)
		synctest.Wait()
		if err := s.State(); err != nil {
			t.Error(err)
		}
		call(t, s, "/three")
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var paths []string
		for _, r := range p.records(t) {
			paths = append(paths, r.Path)
		}
		if want := []string{"/one", "/two", "/under-way", "/three"}; !reflect.DeepEqual(paths, want) {
			t.Errorf("got %q, want %q", paths, want)
		}
		c.want(t, 4, 0, true, false)
		if n := logs.Len(); n != 2 {
			t.Errorf("the log has %d lines, want one for each change: %v", n, logs.All())
		}
	})
}

// With on_error: continue calls go on, and what could not be kept is counted,
// and told in the stream itself once it is written again.
func TestFullDiskLosesWhatFindsNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := &pipe{}, &counts{}
		o := c.options()
		o.Stdout = p
		s := open(t, o)
		for range places + 7 {
			call(t, s, "/x")
		}
		synctest.Wait()
		c.want(t, 0, 7, true)
		p.allow(-1)
		time.Sleep(lastRetry)
		call(t, s, "/y")
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		got := p.records(t)
		if len(got) != places+2 {
			t.Fatalf("%d records were written, want %d", len(got), places+2)
		}
		if lost := got[places]; lost.Event != Lost || lost.Lost != 7 || lost.Time.IsZero() {
			t.Errorf("the loss is told as %+v", lost)
		}
	})
}

// A write that hangs, as on a network's disk, counts as failed.
func TestHangingWriteRefusesCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{room: -1, stuck: make(chan struct{})}
		s := open(t, Options{To: Stdout, Refuse: true, Stdout: p})
		call(t, s, "/one")
		time.Sleep(stalled - time.Millisecond)
		call(t, s, "/two")
		time.Sleep(time.Millisecond)
		if err := s.Reserve(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("a call was let out: %v", err)
		}
		if err := s.Reopen(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("opening anew gave %v", err)
		}
		if s.State() == nil {
			t.Error("the state tells nothing of it")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "2 records") {
			t.Errorf("Close gave %v, want the two that are lost", err)
		}
		close(p.stuck)
		synctest.Wait()
		if got := p.records(t); len(got) != 2 {
			t.Errorf("%d records were written after all, want 2", len(got))
		}
	})
}

// Calls under way hold places, so that none ends without one.
func TestCallsUnderWayHoldPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{To: Stdout, Refuse: true, Stdout: io.Discard})
		for range places {
			if err := s.Reserve(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Reserve(); !errors.Is(err, ErrUnavailable) {
			t.Errorf("one more call was let out: %v", err)
		}
		s.Release()
		s.Write(Record{})
		synctest.Wait()
		for range 2 {
			if err := s.Reserve(); err != nil {
				t.Error(err)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestNilStreamKeepsNothing(t *testing.T) {
	var s *Stream
	if err := errors.Join(s.Reserve(), s.State(), s.Reopen(), s.Close(t.Context())); err != nil {
		t.Error(err)
	}
	s.Write(Record{})
	s.Release()
}

func TestFileIsAppendedToAndOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t, Options{To: path})
	call(t, s, "/one")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{To: path, Refuse: true})
	call(t, s, "/two")
	eventually(t, func() bool { return len(read(t, path)) == 2 })
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	call(t, s, "/three")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if old, now := read(t, path+".1"), read(t, path); len(old) != 2 || len(now) != 1 || now[0].Path != "/three" {
		t.Errorf("the old file has %v, the other %v", old, now)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o027 != 0 {
		t.Errorf("the file has mode %v (%v), want nothing for others", info.Mode(), err)
	}
	if err := s.Reopen(); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// Where the name cannot be had any more, records go on to the old file.
func TestFileThatCannotBeOpenedAnewStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	s := open(t, Options{To: path})
	call(t, s, "/one")
	eventually(t, func() bool { return len(read(t, path)) == 1 })
	if err := errors.Join(os.Rename(path, path+".1"), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reopen(); err == nil || !strings.Contains(err.Error(), "goes on in the file that was open") {
		t.Errorf("opening anew gave %v", err)
	}
	call(t, s, "/two")
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path+".1"); len(got) != 2 {
		t.Errorf("the old file has %v", got)
	}
}

// A record of which the full disk took a part is whole in the file that follows.
func TestTornRecordIsWholeInTheNextFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	records := []Record{{Path: "/one"}, {Path: "/two"}}
	var first bytes.Buffer
	records[0].writeTo(&first)
	l.out = &pipe{room: first.Len() + 5}
	if whole, err := l.write(records); whole != 1 || err == nil || l.torn != 5 {
		t.Fatalf("%d are whole, %d bytes of the next (%v)", whole, l.torn, err)
	}
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	if whole, err := l.write(records[1:]); whole != 1 || err != nil {
		t.Fatal(whole, err)
	}
	if got := read(t, path); len(got) != 1 || got[0].Path != "/two" {
		t.Errorf("the file has %v", got)
	}
}

func read(t *testing.T, path string) []Record {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

func TestWhatCannotBeOpenedEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	for to, want := range map[string]string{
		"audit.log":                     "neither journald nor stdout nor an absolute path",
		dir:                             "is no regular file",
		filepath.Join(dir, "none", "x"): "no such file",
	} {
		if _, err := Open(Options{To: to}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", to, err, want)
		}
	}
	if _, err := Open(Options{To: Journald, journal: filepath.Join(dir, "none")}); err == nil || !strings.Contains(err.Error(), "journald does not answer") {
		t.Errorf("journald: got %v", err)
	}
}

// fakeJournal takes entries as journald does, and reads them.
type fakeJournal struct {
	conn *net.UnixConn
}

func startJournal(t *testing.T, path string) *fakeJournal {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	return &fakeJournal{conn}
}

// next gives the fields of the next entry.
func (j *fakeJournal) next(t *testing.T) map[string]string {
	t.Helper()
	buf := make([]byte, 64<<10)
	if err := j.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := j.conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]string)
	for rest := string(buf[:n]); rest != ""; {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			t.Fatalf("no line break at the end of %q", rest)
		}
		name, value, plain := strings.Cut(line, "=")
		if !plain {
			size := 0
			for i := range 8 {
				size |= int(after[i]) << (8 * i)
			}
			value, after = after[8:8+size], after[8+size+1:]
		}
		fields[name], rest = value, after
	}
	return fields
}

func TestJournaldGetsTheRecordAndItsFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	j := startJournal(t, path)
	s := open(t, Options{To: Journald, journal: path, Refuse: true})
	if err := s.Reserve(); err != nil {
		t.Fatal(err)
	}
	s.Write(Record{Event: Call, User: "payroll", Route: "vault", Operation: "keyvault.secret.get", Host: "v.vault.azure.net", Path: "/secrets/db",
		Cgroup: "/a\nBEARERD_USER=root", Mints: true, Status: 200, ServiceRequestID: "r-1"})
	got := j.next(t)
	for name, want := range map[string]string{
		"PRIORITY": "6", "SYSLOG_IDENTIFIER": "bearerd-audit", "BEARERD_EVENT": "call", "BEARERD_USER": "payroll", "BEARERD_ROUTE": "vault",
		"BEARERD_OPERATION": "keyvault.secret.get", "BEARERD_HOST": "v.vault.azure.net", "BEARERD_CGROUP": "/a\nBEARERD_USER=root",
		"BEARERD_MINTS": "true", "BEARERD_STATUS": "200", "BEARERD_SERVICE_REQUEST_ID": "r-1",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if r := parse(t, got["MESSAGE"]); len(r) != 1 || r[0].Path != "/secrets/db" {
		t.Errorf("the message is %q", got["MESSAGE"])
	}
	if _, ok := got["BEARERD_CODE"]; ok {
		t.Error("an empty field was sent")
	}

	// journald is started anew; the socket is another one.
	j.conn.Close()
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	call(t, s, "/meanwhile")
	eventually(t, func() bool { return s.State() != nil })
	j = startJournal(t, path)
	defer j.conn.Close()
	if r := parse(t, j.next(t)["MESSAGE"]); len(r) != 1 || r[0].Path != "/meanwhile" {
		t.Errorf("journald got %v", r)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// The table of the documentation has every field, in the order of a line.
func TestFieldsAreThoseOfARecord(t *testing.T) {
	var want, got []string
	for i := range reflect.TypeFor[Record]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Record]().Field(i).Tag.Get("json"), ",")
		want = append(want, name)
	}
	for _, f := range Fields() {
		got = append(got, f.Name)
		if f.Means == "" {
			t.Errorf("%s means nothing", f.Name)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("documented are %q, in a record %q", got, want)
	}
}

func TestIDTakesNamesOfRequestsAlone(t *testing.T) {
	for text, want := range map[string]string{
		"6a6f2f0c-7f6c-4b68-9d3f-6f2f1b9a4c11": "6a6f2f0c-7f6c-4b68-9d3f-6f2f1b9a4c11",
		"app:42/3.retry_1":                     "app:42/3.retry_1",
		"":                                     "",
		"a b":                                  "",
		"a\nb":                                 "",
		`"`:                                    "",
		strings.Repeat("x", 129):               "",
	} {
		if got := ID(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("not so in time")
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	s, err := Open(Options{To: filepath.Join(b.TempDir(), "audit.log"), Refuse: true})
	if err != nil {
		b.Fatal(err)
	}
	uid := uint32(1001)
	r := Record{Time: time.Now(), Event: Call, RequestID: "6a6f2f0c-7f6c-4b68-9d3f-6f2f1b9a4c11", Remote: "127.0.0.1:40000", User: "payroll", UID: &uid,
		Cgroup: "/system.slice/payroll.service", Steering: "connect", Route: "keyvault", Action: "inject", ObjectID: "6a6f2f0c-7f6c-4b68-9d3f-6f2f1b9a4c11",
		Audience: "https://vault.azure.net", Operation: "keyvault.secret.get", Method: "GET", Host: "payroll.vault.azure.net", Path: "/secrets/db",
		Status: 200, ServiceRequestID: "6a6f2f0c-7f6c-4b68-9d3f-6f2f1b9a4c11", Sent: 1000, Seconds: .0123}
	b.ReportAllocs()
	for b.Loop() {
		for s.Reserve() != nil {
			runtime.Gosched() // the disk is the slower one
		}
		s.Write(r)
	}
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
