// Package unchanged runs programs that ask IMDS at its own address, which no
// variable changes, and has bearerd answer there.
//
// Its tests run in a network of their own, which has loopback alone and gives it
// IMDS's address. So they need root, or a user who may make namespaces, and none
// of what they send can leave the machine.
package unchanged
