package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority"
	"github.com/bearerd/bearerd/proxy/authority/trust"
)

// exportTrust writes what apps have to trust into dir, and makes the authority
// where there is none yet. A sidecar does so before its apps start, in the one
// folder that it shares with them; the authority's key stays in state_dir.
func exportTrust(ctx context.Context, c *daemon.Config, dir string) error {
	all, err := authoritiesOf(c)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.CertFile != "" {
			continue
		}
		if _, err := authority.Init(ctx, o, false); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	roots, err := loadRoots(all)
	if err != nil {
		return err
	}
	bundle, err := roots.Bundle()
	if err != nil {
		return err
	}
	store, err := roots.PKCS12(trust.Password)
	if err != nil {
		return err
	}
	return errors.Join(
		trust.WriteFile(filepath.Join(dir, "root.pem"), roots.PEM()),
		trust.WriteFile(filepath.Join(dir, "bundle.pem"), bundle),
		trust.WriteFile(filepath.Join(dir, "root.p12"), store),
	)
}
