//go:build race

package cache

// raceFactor is how much longer the race detector may have things take.
const raceFactor = 5
