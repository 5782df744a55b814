// Package transparent runs bearerd's transparent listeners in a network of the
// tests' own, with real programs that know of no proxy: redirected by the
// firewall, and led by hosts entries. It needs root.
package transparent
