// Package imds answers how to ask Azure's Instance Metadata Service (IMDS) for
// a managed identity's token: the request, the lenient reading of the answer,
// what each failure means, and the token itself, which redacts itself wherever
// it is printed.
//
// It makes one attempt at a time. When to ask, and how often, is package
// cache's.
package imds
