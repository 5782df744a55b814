package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority"
)

// authorities looks at the local ones.
func (e *examination) authorities(context.Context) []finding {
	found := e.authority("authority", daemon.AuthorityOptions(e.config, e.table))
	if o, needed := daemon.RSAAuthorityOptions(e.config, e.table); needed {
		found = append(found, e.authority("RSA authority", o)...)
	}
	return found
}

// authorityNotice is how long before its end an authority is spoken of: every app
// has to trust the next one by then.
const authorityNotice = 60 * 24 * time.Hour

func (e *examination) authority(which string, o authority.Options) []finding {
	root, err := authority.Load(o)
	if errors.Is(err, fs.ErrNotExist) {
		return []finding{{Check: which, Level: levelNote, Seen: "there is none yet; the first start of bearerd makes it, or `bearerd ca init`"}}
	}
	if err == nil {
		err = root.Covers(slices.Concat(o.Permit, o.Wildcards)...)
	}
	if err != nil {
		return []finding{failed(which, "", err)}
	}
	f := finding{Check: which, Seen: "it covers the routes and expires on " + root.Expires().Format(time.DateOnly)}
	if root.Expires().Sub(e.now()) < authorityNotice {
		f.Level, f.Do, f.Command = levelWarn, "renew it in stages, so that every app trusts the next one in time:", "bearerd ca stage"
	}
	return []finding{f}
}

// runningPatience is how long the running bearerd may take to answer.
const runningPatience = 3 * time.Second

// statusSeen is what matters here of a running bearerd's /status.
type statusSeen struct {
	Version  string   `json:"version"`
	Ready    bool     `json:"ready"`
	Reasons  []string `json:"reasons"`
	Troubles []struct {
		Severe bool   `json:"severe"`
		Text   string `json:"text"`
	} `json:"troubles"`
	Config struct {
		Path     string    `json:"path"`
		LoadedAt time.Time `json:"loaded_at"`
	} `json:"config"`
}

// running asks the bearerd that runs, if one does.
func (e *examination) running(ctx context.Context) []finding {
	where := e.config.Admin.Address
	s, err := e.askRunning(ctx)
	switch {
	case isUnanswered(err):
		return append([]finding{{Check: "daemon", Level: levelNote, Subject: where.String(), Seen: "no bearerd runs with this configuration (its admin listener does not answer)"}}, e.occupied(ctx)...)
	case err != nil:
		return []finding{{Check: "daemon", Level: levelFail, Subject: where.String(), Seen: "what answers there is no bearerd, or is not well: " + plainError(err), Do: "look at its log (journalctl -u bearerd), or who else listens there (ss -ltnp)"}}
	}
	var found []finding
	f := finding{Check: "daemon", Subject: where.String(), Seen: fmt.Sprintf("bearerd %s runs and is ready", s.Version)}
	if !s.Ready {
		f.Level, f.Seen, f.Do = levelFail, fmt.Sprintf("bearerd %s runs and is not ready", s.Version), "see the next lines"
	}
	found = append(found, f)
	for _, t := range s.Troubles {
		level := levelWarn
		if t.Severe {
			level = levelFail
		}
		seen, do := splitAdvice(t.Text)
		if do == "" {
			do = "see `bearerd doctor`'s other lines, and the status page"
		}
		found = append(found, finding{Check: "daemon", Level: level, Seen: seen, Do: do})
	}
	if s.Version != versionOf() {
		found = append(found, finding{Check: "daemon", Level: levelWarn, Seen: fmt.Sprintf("it is of version %s, and this is %s", s.Version, versionOf()), Do: "restart it, if it was to be upgraded"})
	}
	if s.Config.Path != e.config.Path() {
		found = append(found, finding{Check: "daemon", Level: levelWarn, Seen: fmt.Sprintf("it runs by %q, and this looks at %q", s.Config.Path, e.config.Path()), Do: "name the file that is meant with --config"})
	} else if info, err := os.Stat(s.Config.Path); err == nil && info.ModTime().Sub(s.Config.LoadedAt) > time.Second {
		found = append(found, finding{Check: "daemon", Level: levelWarn, Seen: "the configuration was changed since it was loaded", Do: "reload it:", Command: "systemctl reload bearerd"})
	}
	return found
}

// isUnanswered reports whether nobody listens.
func isUnanswered(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && !errors.Is(err, fs.ErrPermission) && !op.Timeout()
}

func (e *examination) askRunning(ctx context.Context) (*statusSeen, error) {
	ctx, cancel := context.WithTimeout(ctx, runningPatience)
	defer cancel()
	network, address := e.config.Admin.Address.Network()
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	host := "localhost"
	if network == "tcp" {
		host = address
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/status", nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	var s statusSeen
	if err := json.NewDecoder(io.LimitReader(answer.Body, 16<<20)).Decode(&s); err != nil || s.Version == "" {
		return nil, errors.New("its answer is no status of bearerd's")
	}
	return &s, nil
}

// occupied tells which listeners of a bearerd that does not run somebody else
// has.
func (e *examination) occupied(ctx context.Context) (found []finding) {
	for _, l := range e.config.Listen {
		if !l.Address.TCP.IsValid() || l.Address.TCP.Port() == 0 {
			continue
		}
		dialer := net.Dialer{Timeout: runningPatience}
		conn, err := dialer.DialContext(ctx, "tcp", l.Address.TCP.String())
		if err != nil {
			continue
		}
		conn.Close()
		found = append(found, finding{Check: "listener", Level: levelFail, Subject: l.Address.String(), Seen: "another program listens there", Do: fmt.Sprintf("end it (ss -ltnp 'sport = :%d' tells which), or write another address", l.Address.TCP.Port())})
	}
	return found
}

// files looks at who may read and write what is bearerd's.
func (e *examination) files(context.Context) []finding {
	if runtime.GOOS == "windows" {
		return []finding{{Check: "files", Level: levelNote, Seen: "who may read them is not looked at on Windows"}}
	}
	var found []finding
	look := func(path, what string, forbidden fs.FileMode, do string) {
		if path == "" {
			return
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			found = append(found, finding{Check: "files", Level: levelNote, Subject: path, Seen: "it cannot be looked at: " + errors.Unwrap(err).Error()})
		case info.Mode().Perm()&forbidden != 0:
			found = append(found, finding{Check: "files", Level: levelFail, Subject: path, Seen: fmt.Sprintf("%s has mode %04o", what, info.Mode().Perm()), Do: do + ":", Command: fmt.Sprintf("chmod %04o %s", info.Mode().Perm()&^forbidden, path)})
		}
	}
	const others = "who can write it decides who gets tokens"
	look(e.config.Path(), "the configuration", 0o022, others)
	if path := e.config.Path(); path != "" {
		look(filepath.Dir(path), "the configuration's folder", 0o002, others)
	}
	const secret = "others must not read it"
	look(e.config.StateDir, "the authority's folder", 0o077, secret)
	look(filepath.Join(e.config.StateDir, "authority.pem"), "the authority", 0o077, secret)
	look(e.config.Authority.KeyFile, "the authority's key", 0o037, secret)
	for _, l := range e.config.Listen {
		look(l.TLS.KeyFile, "a listener's key", 0o037, secret)
		look(l.TLS.ACME.EAB.KeyFile, "the key of the ACME account", 0o037, secret)
	}
	if found == nil {
		found = append(found, finding{Check: "files", Seen: "nobody else can write the configuration, or read a key"})
	}
	return found
}
