package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Shutdown ends the daemon in order: it goes on accepting for drain.min, lets
// the calls under way end, closes the tunnels, and stops the rest. drain.max
// from now, or when ctx ends, what is left is broken off. The error is that of
// a listener that failed, or of writing what was learned.
func (d *Daemon) Shutdown(ctx context.Context) error {
	d.draining.Store(true)
	d.finish(nil)
	drain := d.state.Load().config.Drain
	d.log.Info("bearerd is ending", zap.Duration("drain", drain.Max))
	d.supervisor.stopping(d.words(), drain.Max)
	ctx, cancel := context.WithTimeout(ctx, drain.Max)
	defer cancel()
	if drain.Min > 0 {
		timer := time.NewTimer(drain.Min)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	var metadata error
	var draining sync.WaitGroup
	draining.Go(func() { metadata = d.metadata.Shutdown(ctx) })
	err := d.proxy.Shutdown(ctx)
	draining.Wait()
	if err = errors.Join(err, metadata); err != nil {
		d.log.Warn("calls were still under way and have been broken off", zap.Error(err))
	}
	learned := d.WriteLearned() // while it is known whose the tokens were
	d.release()
	d.log.Info("bearerd has ended")
	return errors.Join(d.failure, learned)
}

// release ends what there is, in the opposite order of build.
func (d *Daemon) release() {
	if d.cancel != nil {
		d.cancel()
	}
	if d.proxy != nil {
		d.proxy.Close()
	}
	if d.metadata != nil {
		d.metadata.Close()
	}
	if d.admin != nil {
		d.admin.Close()
	}
	doors := d.lastDoors()
	for _, l := range doors {
		l.Close()
	}
	d.background.Wait()
	d.closeStreams()
	if d.tokens != nil {
		d.tokens.Close()
	}
	for _, l := range doors {
		if l.acme != nil {
			l.acme.Close()
		}
	}
	if d.rsaAuthority != nil {
		d.rsaAuthority.Close()
	}
	if d.authority != nil {
		d.authority.Close()
	}
	if d.imds != nil {
		d.imds.Close()
	}
	// Standard error cannot always be synchronised, and need not be.
	_ = d.log.Sync()
}

// streamPatience is how long the end waits for the last records and spans.
const streamPatience = 5 * time.Second

// closeStreams has what is to be told of the calls that have ended written, and
// sent.
func (d *Daemon) closeStreams() {
	ctx, cancel := context.WithTimeout(context.Background(), streamPatience)
	defer cancel()
	if err := d.audit.Close(ctx); err != nil {
		d.log.Error("the audit stream has ended short", zap.Error(err))
	}
	if err := d.tracer.Close(ctx); err != nil {
		d.log.Warn("the last spans were not sent", zap.Error(err))
	}
}
