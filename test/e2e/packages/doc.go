// Package packages builds bearerd's packages and has them installed, used,
// upgraded and purged, as a newcomer to a clean Debian would.
//
// Its tests need root, debootstrap, systemd-nspawn, rpm and the build tag e2e.
// The Debian has no way out of its namespaces; its Azure is this package's test
// program, which has IMDS's own address there.
package packages
