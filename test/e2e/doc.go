// Package e2e shows the built bearerd at its job with the programs that people
// run: curl, Python, Node.js, Java and their Azure SDKs on one side, Azurite
// and the fake services of package azuretest on the other.
//
// Its tests need those programs (make peers installs them), carry the build
// tag e2e, and never skip: what is missing is a failure. All traffic stays on
// loopback.
package e2e
