package route

import (
	"time"

	"github.com/bearerd/bearerd/proxy/azure"
)

// Table is the compiled routes. Immutable.
type Table struct{ routes []*Route }

// Compile checks the rules and builds the table. Each mistake is a *RuleError;
// several are joined.
func Compile(rules []Rule, cloud *azure.Cloud) (*Table, error) { return &Table{}, nil }

// Decide says what becomes of a call.
func (t *Table) Decide(c *azure.Call, now time.Time) Decision { return Decision{Action: Refuse} }

// Named reports whether any route names the host, on any port.
func (t *Table) Named(host string) bool { return true }

// PortRouted reports whether any route names the host with that port.
func (t *Table) PortRouted(host string, port uint16) bool { return false }

// Gateway gives the route of a base URL.
func (t *Table) Gateway(name string) (*Route, bool) { return nil, false }

// Gateways lists the names of the base URLs, sorted.
func (t *Table) Gateways() []string { return nil }

// Routes lists the routes in order.
func (t *Table) Routes() []*Route { return t.routes }

// Domains gives the suffixes and the exact hosts that routes name.
func (t *Table) Domains() (suffixes, hosts []string) { return nil, nil }

// Defaults gives the rules that hold where there is no configuration.
func Defaults(cloud *azure.Cloud) []Rule { return nil }
