//go:build !linux

package redirect

import "io/fs"

// Rules are what Options mean on this machine at one moment.
type Rules struct{ dead []*DeadSelector }

// Dead tells which selectors were not there.
func (r *Rules) Dead() []*DeadSelector { return r.dead }

// String gives the rules as nft reads them.
func (r *Rules) String() string { return "" }

// Resolve is Linux's alone.
func Resolve(Options) (*Rules, error) { return nil, ErrUnsupported }

// Apply is Linux's alone.
func Apply(*Rules) (changed bool, err error) { return false, ErrUnsupported }

// Verify is Linux's alone.
func Verify(*Rules) (problems []string, err error) { return nil, ErrUnsupported }

// Remove is Linux's alone.
func Remove() (removed bool, err error) { return false, ErrUnsupported }

func inode(fs.FileInfo) (uint64, error) { return 0, ErrUnsupported }
