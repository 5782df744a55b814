//go:build e2e && linux

package packages

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// imageConfig is how a container of the image is to be started.
type imageConfig struct {
	User, WorkingDir string
	Entrypoint, Cmd  []string
	Volumes          map[string]struct{}
	Labels           map[string]string
}

// unpack has skopeo, which compares all digests, copy the image of an
// architecture, and unpacks its one layer.
func unpack(t *testing.T, architecture string) (root string, config imageConfig) {
	t.Helper()
	archive, dir := "oci-archive:"+file(t, "bearerd_1.2.3+4.gabcdef.oci.tar"), filepath.Join(t.TempDir(), "image")
	var all struct {
		Architecture string
		Config       imageConfig
	}
	text := rig.Run(t, os.Environ(), "", "skopeo", "--override-arch", architecture, "inspect", "--config", archive)
	if err := json.Unmarshal([]byte(text), &all); err != nil || all.Architecture != architecture {
		t.Fatalf("the image for %s is one for %q (%v)", architecture, all.Architecture, err)
	}
	rig.Run(t, os.Environ(), "", "skopeo", "--insecure-policy", "--override-arch", architecture, "copy", archive, "dir:"+dir)
	text = rig.Run(t, os.Environ(), dir, "cat", "manifest.json")
	var manifest struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal([]byte(text), &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("the manifest is %s (%v)", text, err)
	}
	root = t.TempDir()
	rig.Run(t, os.Environ(), dir, "tar", "--extract", "--gzip", "--same-owner", "--preserve-permissions", "--directory", root, "--file", strings.TrimPrefix(manifest.Layers[0].Digest, "sha256:"))
	return root, all.Config
}

func TestImage(t *testing.T) {
	const most = 25 << 20
	for _, architecture := range []string{"amd64", "arm64"} {
		root, config := unpack(t, architecture)
		want := imageConfig{
			User: "64180:64180", WorkingDir: "/", Entrypoint: []string{"/usr/bin/bearerd"}, Cmd: []string{"run"},
			Volumes: map[string]struct{}{"/var/lib/bearerd": {}},
			Labels: map[string]string{"org.opencontainers.image.title": "bearerd", "org.opencontainers.image.source": "https://github.com/bearerd/bearerd",
				"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.version": "1.2.3+4.gabcdef"},
		}
		if !reflect.DeepEqual(config, want) {
			t.Errorf("the configuration is %+v", config)
		}
		var size int64
		err := filepath.Walk(root, func(_ string, info os.FileInfo, err error) error {
			if err == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil || size > most {
			t.Errorf("unpacked it has %d bytes, want %d at most (%v)", size, int64(most), err)
		}
		t.Logf("%s: %d bytes unpacked", architecture, size)
		if text := rig.Run(t, os.Environ(), "", "go", "version", "-m", filepath.Join(root, "usr/bin/bearerd")); !strings.Contains(text, "GOARCH="+architecture) {
			t.Errorf("the program is not for %s:\n%s", architecture, text)
		}
		if text := rig.Run(t, os.Environ(), root, "stat", "--format", "%u:%g %a", "var/lib/bearerd"); text != "64180:64180 700\n" {
			t.Errorf("the authority's folder is %s", text)
		}
	}
}

// asContainer does what a container runtime does: mounts, a root that cannot be
// written to, and the image's user.
const asContainer = `set -e
mkdir "$0/proc"
mount --bind "$0" "$0"
mount -t tmpfs -o uid=64180,gid=64180,mode=0700 none "$0/var/lib/bearerd"
mount -t proc none "$0/proc"
mount -o remount,bind,ro "$0"
if touch "$0/etc/new" 2>/dev/null; then echo "the root can be written to"; exit 1; fi
exec chroot --userspec=64180:64180 "$0" /usr/bin/bearerd run`

// The image runs as nobody, without a file or a mount of the user's, where its
// root cannot be written to. There is no IMDS in the namespace.
func TestImageRunsReadOnly(t *testing.T) {
	root, _ := unpack(t, "amd64")
	network := rig.NewNamespace(t)
	p, err := rig.Launch([]string{"PATH=" + os.Getenv("PATH")}, "/", "nsenter", "--net="+network.Path(), "unshare", "--mount", "bash", "-c", asContainer, root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	for _, path := range []string{"livez", "startupz", "readyz"} {
		rig.Eventually(t, path+" is well", func() error {
			select {
			case <-p.Done:
				t.Fatalf("it has ended and said:\n%s", p.Out)
			default:
			}
			text, err := network.Command(nil, "curl", "--silent", "--show-error", "--fail", "--max-time", "5", "http://127.0.0.1:9180/"+path)
			if err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
			return nil
		})
	}
}

// Who builds with a daemon gets the same image.
func TestDockerfileAgrees(t *testing.T) {
	_, config := unpack(t, "amd64")
	text, err := os.ReadFile(filepath.Join(source, "deploy/docker/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, last, found := strings.Cut(string(text), "\nFROM scratch\n")
	want := fmt.Sprintf("COPY --from=build /root-of /\nUSER %s\nWORKDIR %s\nVOLUME /var/lib/bearerd\nENTRYPOINT [%q]\nCMD [%q]\n", config.User, config.WorkingDir, config.Entrypoint[0], config.Cmd[0])
	if !found || last != want {
		t.Errorf("its last stage is\n%s\nwant\n%s", last, want)
	}
}
