// Package steering shows that nothing in an app has to change, in network
// namespaces that it makes itself: an app host, whose users' calls are led to
// bearerd by `bearerd redirect apply` or by hosts entries, and Azure behind its
// network card, with the services, a DNS server, and IMDS at 169.254.169.254.
// The apps are real programs that know of no proxy, and trust what the system
// trusts.
//
// Its tests carry the build tag e2e and take root. Nothing leaves the namespaces.
package steering
