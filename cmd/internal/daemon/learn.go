package daemon

import (
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/azure"
	"github.com/bearerd/bearerd/proxy/learn"
	"github.com/bearerd/bearerd/proxy/route"
)

// learner is where what applications do is remembered, and the file for it.
type learner struct {
	*learn.Recorder
	file string

	writing sync.Mutex // one writer of the file at a time
}

func newLearner(file string, now time.Time) *learner {
	return &learner{Recorder: learn.New(now), file: file}
}

// compile gives the routes of a configuration as they hold in this daemon.
func (d *Daemon) compile(c *Config, cloud *azure.Cloud) (*route.Table, error) {
	table, err := c.Compile(cloud)
	if err != nil || d.learner == nil {
		return table, err
	}
	return table.Learning(), nil
}

// asLearner is what the proxy tells of calls; nil where nothing is learned.
func (d *Daemon) asLearner() proxy.Learner {
	if d.learner == nil {
		return nil
	}
	return taught{d}
}

// taught keeps what concerns Azure.
type taught struct{ d *Daemon }

// Call implements proxy.Learner.
func (t taught) Call(c *learn.Call) { t.d.learner.Call(c) }

// Login implements proxy.Learner.
func (t taught) Login(l *learn.Login) { t.d.learner.Login(l) }

// Unrouted implements proxy.Learner. What else applications connect to is none of
// ours, and would take the room.
func (t taught) Unrouted(host string) {
	cloud := t.d.state.Load().cloud
	if _, ok := cloud.ServiceOf(host); ok || slices.Contains(cloud.Logins(), host) {
		t.d.learner.Unrouted(host)
	}
}

// beginLearning writes the file for the first time, so that a start fails where
// it cannot be written.
func (d *Daemon) beginLearning() error {
	if d.learner == nil {
		return nil
	}
	kept, err := learn.KeepEarlier(d.learner.file)
	if err != nil {
		return err
	}
	d.metrics.Learning.Set(1)
	d.log.Warn("bearerd LEARNS: what the routes say of methods, paths and operations does not hold, and every call to their hosts gets a token that their callers may make; end this once the file has what the applications need",
		zap.String("file", d.learner.file), zap.String("earlier", kept))
	return d.WriteLearned()
}

// WriteLearned writes what has been learned so far, where anything is.
func (d *Daemon) WriteLearned() error {
	if d.learner == nil {
		return nil
	}
	d.learner.writing.Lock()
	defer d.learner.writing.Unlock()
	now := d.state.Load()
	err := learn.Write(d.learner.file, d.learner.Report(learn.ReportOptions{
		Cloud: now.cloud, Routes: now.routes, Now: time.Now(), Principal: d.principals.objectID,
	}))
	if err != nil {
		d.log.Error("what was learned is not written", zap.Error(err))
		return err
	}
	kinds, dropped := d.learner.Counts()
	d.log.Info("what was learned is written", zap.String("file", d.learner.file), zap.Int("kinds", kinds), zap.Uint64("dropped", dropped))
	return nil
}

// learningStatus is how the learning stands; nil: nothing is learned.
func (d *Daemon) learningStatus() *admin.Learning {
	if d.learner == nil {
		return nil
	}
	kinds, dropped := d.learner.Counts()
	return &admin.Learning{File: d.learner.file, Since: d.learner.Since(), Kinds: kinds, Dropped: dropped}
}
