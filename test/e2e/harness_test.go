//go:build e2e

package e2e

import (
	"os"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// env is what all tests share. TestMain makes it before the first one.
var env environment

type environment struct {
	*rig.Rig
	store *rig.Azurite
}

func TestMain(m *testing.M) { os.Exit(rig.Main(m, ".", &env.Rig, &env.store)) }

// startForCloud starts bearerd in front of the fake services, which judge every
// token by its signature.
func startForCloud(t *testing.T, o azuretest.Options, routes string) (*rig.Daemon, *azuretest.Cloud) {
	t.Helper()
	imds := rig.StartIMDS(t, imdstest.Options{})
	cloud := imds.StartCloud(t, o)
	return env.Start(t, rig.Settings{IMDS: imds, Upstream: cloud.ConnectTo(), CA: cloud.CAPEM(), Routes: routes}), cloud
}
