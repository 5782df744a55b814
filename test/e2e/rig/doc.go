// Package rig starts what the end-to-end tests are made of: bearerd, built as
// it is released and run as a process of its own; Azurite, Microsoft's storage
// emulator; the fake services of package azuretest; and an emulated IMDS.
//
// It is a package, and no file of a test, because the tests of the Azure SDK
// for Go are a module of their own and use it too. All that it starts listens
// on loopback, ends with the test that asked for it, and when a bearerd ends,
// everything that it logged, counted and answered is searched for secrets.
package rig
