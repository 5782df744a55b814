// Package source answers how to ask for a managed identity's token where it is
// not the machine's IMDS that gives it: App Service, Azure Arc, Service Fabric,
// Azure ML, Cloud Shell, a Kubernetes pod's workload identity, and the Azure CLI
// of a developer's machine. A Mux sends each identity to the source it names.
//
// It hides MSAL for Go, which writes the requests. MSAL's cache, retries and
// errors are kept out of the way: every call is one attempt that really asks,
// the answer is read by package imds before MSAL sees it, and MSAL is shown a
// stand-in for the token, so that neither its process-wide cache nor its errors
// hold one.
//
// MSAL reads the variables that describe a managed identity's endpoint from the
// process's environment, at every attempt. A process has therefore one such
// endpoint, beside IMDS, workload identity and the Azure CLI.
package source
