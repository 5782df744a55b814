// Package monitoring has a real Prometheus scrape bearerd, with the rules that
// users are given, and causes the fault that each alert is for.
package monitoring
