// Package azuretest answers what Azure would say to a call, so that bearerd can
// be tested, tried and shown without Azure: a vault, a blob account and Resource
// Manager on loopback, each under its public name with TLS of a test authority,
// and the IMDS of the machine whose identity they know.
//
// The fakes verify rather than nod. A call needs a token whose signature,
// issuer, audience and times are right and that was not revoked, and the header
// fields that the real service insists on; a refusal has the real one's status,
// challenge and body. What no proxy may ever forward is refused and noted as a
// violation besides, for tests to find none.
//
// It hides the protocols of the services, the test authority and the listeners.
// Nothing here leaves the machine, and none of it is fit to guard anything.
package azuretest
