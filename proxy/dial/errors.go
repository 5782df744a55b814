package dial

import (
	"fmt"
	"net/netip"
	"strconv"
)

// ForbiddenError says that a target may not be reached through bearerd. Its
// text is bounded, holds nothing secret and may be shown to the caller.
type ForbiddenError struct {
	Target  string     // as it was asked for
	Address netip.Addr // what it is or resolved to; zero where the spelling alone is refused
	Reason  string     // what the address is, like "a loopback address"
	Cure    string     // what to do
}

// Error says what was refused, why, and what to do.
func (e *ForbiddenError) Error() string {
	what := quote(e.Target)
	if e.Address.IsValid() {
		what += " leads to " + e.Address.String() + ","
	} else {
		what += " is"
	}
	return fmt.Sprintf("%s %s, and bearerd does not connect there; %s", what, e.Reason, e.Cure)
}

// forbidden makes the error for one refused address of a target.
func forbidden(target string, address netip.Addr, v verdict) error {
	return &ForbiddenError{Target: target, Address: address, Reason: v.reason(), Cure: v.cure()}
}

// maxQuoted bounds what an error repeats of a caller's input: the longest DNS
// name and a port.
const maxQuoted = 253 + len(":65535")

// quote makes a caller's input harmless in a line of text.
func quote(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted] + "..."
	}
	return strconv.QuoteToASCII(s)
}
