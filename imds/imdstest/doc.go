// Package imdstest answers what the Instance Metadata Service of an Azure
// machine would say to a call for a token, so that bearerd can be tested, tried
// and shown without Azure.
//
// It judges rather than nods: a call that the real one refuses is refused in its
// words and noted. Its tokens are JWTs that Entra's rules hold for, signed with
// a key of its own. What goes wrong on real machines, from a machine's limits
// and updates to gateways that answer in its place, is scripted by Faults.
//
// It starts no goroutine and reads the time from one function, so that a month
// of refreshes runs in milliseconds. None of it is fit to guard anything.
package imdstest
