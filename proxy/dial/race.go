package dial

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// attemptDelay is how long one address has before the next is tried beside it
// (RFC 8305, section 8, "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// interleave orders targets so that the address families alternate, and is
// otherwise as the resolver sorted them: where one family leads nowhere, the
// second try is already of the other (RFC 8305, section 4).
func interleave(targets []netip.AddrPort) []netip.AddrPort {
	var first, other []netip.AddrPort
	for _, t := range targets {
		if t.Addr().Is4() == targets[0].Addr().Is4() {
			first = append(first, t)
		} else {
			other = append(other, t)
		}
	}
	ordered := targets[:0]
	for i := range max(len(first), len(other)) {
		if i < len(first) {
			ordered = append(ordered, first[i])
		}
		if i < len(other) {
			ordered = append(ordered, other[i])
		}
	}
	return ordered
}

// race gives the first connection that stands. A target is tried once the one
// before it has failed or has had its time, so that a dead one costs a moment.
// Every attempt has ended when race returns.
func (d *Dialer) race(ctx context.Context, targets []netip.AddrPort) (net.Conn, error) {
	if len(targets) == 1 {
		return d.connect(ctx, targets[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	var (
		results  = make(chan result)
		next     = time.NewTimer(attemptDelay)
		running  int
		winner   net.Conn
		firstErr error // the likeliest to tell something: later ones may be our own cancelling
	)
	defer next.Stop()
	tryNext := func() {
		if len(targets) == 0 || winner != nil {
			return
		}
		target := targets[0]
		targets = targets[1:]
		running++
		go func() {
			conn, err := d.connect(ctx, target)
			results <- result{conn, err}
		}()
		next.Reset(attemptDelay)
	}
	for tryNext(); running > 0; {
		select {
		case <-next.C:
			tryNext()
		case r := <-results:
			running--
			switch {
			case r.err != nil:
				if firstErr == nil {
					firstErr = r.err
				}
				if ctx.Err() == nil {
					tryNext()
				}
			case winner == nil:
				winner = r.conn
				cancel()
			default: // it stood before it heard of the winner
				r.conn.Close()
			}
		}
	}
	if winner != nil {
		return winner, nil
	}
	return nil, firstErr
}

// connect opens one connection to the address that was judged.
func connect(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", target.String())
}
