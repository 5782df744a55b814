package main

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
	"github.com/bearerd/bearerd/proxy/authority"
)

// keystorePassword opens the PKCS#12 store, which holds no secret; Java's own
// has it too.
const keystorePassword = "changeit"

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
	root, err := loadRoots(all)
	if err != nil {
		return err
	}
	bundle, err := root.Bundle()
	if err != nil {
		return err
	}
	store, err := root.RootPKCS12(keystorePassword)
	if err != nil {
		return err
	}
	return errors.Join(
		writePublic(filepath.Join(dir, "root.pem"), root.RootPEM()),
		writePublic(filepath.Join(dir, "bundle.pem"), bundle),
		writePublic(filepath.Join(dir, "root.p12"), store),
	)
}
