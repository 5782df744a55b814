// Command image writes a container image, for several architectures at once, as
// an OCI archive: without a daemon, a base image or a network. The same
// programs, roots and time give the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// user is nobody's elsewhere, and the number that deploy/kubernetes takes:
// bearerd's own user is never a caller.
const user = 64180

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	out := flags.String("out", "", "archive to write")
	roots := flags.String("roots", "/etc/ssl/certs/ca-certificates.crt", "certificate authorities that services are verified by")
	version := flags.String("version", "", "version of the programs")
	epoch := flags.Int64("time", 0, "seconds since 1970 that the image dates from")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || *version == "" || flags.NArg() == 0 {
		return errors.New("want --out FILE, --version VERSION, and ARCHITECTURE=PROGRAM once or more")
	}
	trusted, err := os.ReadFile(*roots)
	if err != nil {
		return err
	}
	i := image{version: *version, time: time.Unix(*epoch, 0).UTC(), roots: trusted}
	for _, arg := range flags.Args() {
		architecture, path, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not ARCHITECTURE=PROGRAM", arg)
		}
		program, err := os.ReadFile(path)
		if err == nil {
			err = i.add(architecture, program)
		}
		if err != nil {
			return err
		}
	}
	text, err := i.archive()
	if err != nil {
		return err
	}
	return os.WriteFile(*out, text, 0o644)
}

// image collects the parts of an archive.
type image struct {
	version   string
	time      time.Time
	roots     []byte
	blobs     []entry
	manifests []descriptor
}

// entry is a file of a tar archive, or a folder where the name ends so.
type entry struct {
	name  string
	text  []byte
	mode  int64
	owner int
}

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int       `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// files are what one architecture's image has: no shell, nothing to write to
// but the authority's folder.
func (i *image) files(program []byte) []entry {
	return []entry{
		{name: "etc/", mode: 0o755},
		{name: "etc/bearerd/", mode: 0o755},
		{name: "etc/group", text: fmt.Appendf(nil, "root:x:0:\nbearerd:x:%d:\n", user), mode: 0o644},
		{name: "etc/passwd", text: fmt.Appendf(nil, "root:x:0:0:root:/:/nonexistent\nbearerd:x:%d:%d:bearerd:/var/lib/bearerd:/nonexistent\n", user, user), mode: 0o644},
		{name: "etc/ssl/", mode: 0o755},
		{name: "etc/ssl/certs/", mode: 0o755},
		{name: "etc/ssl/certs/ca-certificates.crt", text: i.roots, mode: 0o644},
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/bearerd", text: program, mode: 0o755},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/lib/bearerd/", mode: 0o700, owner: user},
	}
}

// add adds one architecture's image.
func (i *image) add(architecture string, program []byte) error {
	layer, err := i.tar(i.files(program))
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(layer); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	config, err := i.blob("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": architecture, "os": "linux", "created": i.time.Format(time.RFC3339),
		"config": map[string]any{
			"User":       fmt.Sprintf("%d:%d", user, user),
			"Entrypoint": []string{"/usr/bin/bearerd"},
			"Cmd":        []string{"run"},
			"WorkingDir": "/",
			// What is a volume can be written to where the root cannot.
			"Volumes": map[string]any{"/var/lib/bearerd": struct{}{}},
			"Labels": map[string]string{
				"org.opencontainers.image.title":    "bearerd",
				"org.opencontainers.image.source":   "https://github.com/bearerd/bearerd",
				"org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.version":  i.version,
			},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer)}},
	})
	if err != nil {
		return err
	}
	manifest, err := i.blob("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
		"layers": []descriptor{i.keep("application/vnd.oci.image.layer.v1.tar+gzip", packed.Bytes())},
	})
	manifest.Platform = &platform{architecture, "linux"}
	i.manifests = append(i.manifests, manifest)
	return err
}

// archive gives the whole as a tar of an OCI layout, whose index leads to the
// architectures' one, so that tools see one image.
func (i *image) archive() ([]byte, error) {
	const kind = "application/vnd.oci.image.index.v1+json"
	all, err := i.blob(kind, map[string]any{"schemaVersion": 2, "mediaType": kind, "manifests": i.manifests})
	if err != nil {
		return nil, err
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": kind, "manifests": []descriptor{all}})
	if err != nil {
		return nil, err
	}
	return i.tar(append([]entry{
		{name: "oci-layout", text: []byte(`{"imageLayoutVersion":"1.0.0"}`), mode: 0o644},
		{name: "index.json", text: index, mode: 0o644},
		{name: "blobs/", mode: 0o755},
		{name: "blobs/sha256/", mode: 0o755},
	}, i.blobs...))
}

func (i *image) blob(kind string, value any) (descriptor, error) {
	text, err := json.Marshal(value)
	return i.keep(kind, text), err
}

func (i *image) keep(kind string, text []byte) descriptor {
	d := descriptor{MediaType: kind, Digest: digest(text), Size: len(text)}
	i.blobs = append(i.blobs, entry{name: "blobs/sha256/" + strings.TrimPrefix(d.Digest, "sha256:"), text: text, mode: 0o644})
	return d
}

func digest(text []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(text)) }

func (i *image) tar(entries []entry) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(e.name, "/") {
			kind = tar.TypeDir
		}
		h := &tar.Header{Typeflag: kind, Name: e.name, Size: int64(len(e.text)), Mode: e.mode, Uid: e.owner, Gid: e.owner, ModTime: i.time, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.Copy(w, bytes.NewReader(e.text)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
