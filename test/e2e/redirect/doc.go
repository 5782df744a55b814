// Package redirect shows the nftables rules of bearerd in network namespaces
// that it makes itself: an app host, Azure behind it with IMDS's own address,
// and a container that the host forwards for.
//
// Its tests carry the build tag e2e, need root, nft, ip and curl, and never
// skip: what is missing is a failure. Nothing leaves the namespaces.
package redirect
