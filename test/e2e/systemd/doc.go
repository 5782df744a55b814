// Package systemd runs bearerd by the units of deploy/systemd in a Debian that
// systemd has booted, and measures how little those units may do.
//
// Its tests need root, debootstrap, systemd-nspawn and the build tag e2e. The
// Debian has no way out of its namespaces; its Azure is this package's test
// program, which runs inside.
package systemd
