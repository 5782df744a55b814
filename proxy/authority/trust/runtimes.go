package trust

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
)

// Variables that name a file in place of the system's roots, and who reads them.
var inPlace = []string{
	"SSL_CERT_FILE",                    // OpenSSL and so Python, Ruby, PHP and Perl; Go, Rust, .NET on Linux
	"REQUESTS_CA_BUNDLE",               // Python's requests, and so the Azure CLI and pip
	"CURL_CA_BUNDLE",                   // curl
	"GIT_SSL_CAINFO",                   // git
	"PIP_CERT",                         // pip, before REQUESTS_CA_BUNDLE
	"HTTPLIB2_CA_CERTS",                // Python's httplib2
	"CARGO_HTTP_CAINFO",                // cargo
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", // gRPC but for Go and Java
	"PERL_LWP_SSL_CA_FILE",             // Perl's LWP
}

// Variables that name a file of roots besides the program's own, and who reads
// them.
var besides = []string{
	"NODE_EXTRA_CA_CERTS", // Node.js
	"DENO_CERT",           // Deno
}

// Runtimes is what makes the common runtimes trust the roots.
type Runtimes struct {
	Variables []string // NAME=value
	// JavaStore is a PKCS#12 trust store for Password, which Java is told of by
	// properties: it reads no environment.
	JavaStore string
}

// Runtimes writes into dir, which must be absolute, what the common runtimes
// need to trust the roots besides what they trust now: the system's roots, or
// those that a variable of getenv's names, in a file or a folder. A variable that
// names what cannot be read is an error, for the runtime would trust nothing.
func (r Roots) Runtimes(dir string, getenv func(string) string) (Runtimes, error) {
	system, err := systemRoots(getenv)
	if err != nil {
		return Runtimes{}, err
	}
	out := Runtimes{JavaStore: filepath.Join(dir, "roots.p12")}
	store, err := r.javaStore(system)
	if err != nil {
		return Runtimes{}, err
	}
	files := map[string][]byte{"roots.p12": store, "roots.pem": r.bundle(system), "bearerd.pem": r.PEM()}
	add := func(names []string, usual string) error {
		for _, name := range names {
			file := usual
			if before := getenv(name); before != "" {
				named, err := readNamed(before)
				if err != nil {
					return fmt.Errorf("%s: %w; correct or unset it", name, err)
				}
				file = name + ".pem"
				files[file] = r.bundle(named)
			}
			out.Variables = append(out.Variables, name+"="+filepath.Join(dir, file))
		}
		return nil
	}
	if err := add(inPlace, "roots.pem"); err != nil {
		return Runtimes{}, err
	}
	if err := add(besides, "bearerd.pem"); err != nil {
		return Runtimes{}, err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return Runtimes{}, err
		}
	}
	return out, nil
}

// readNamed reads the roots in a file or a folder.
func readNamed(path string) ([]*x509.Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return rootPlaces{dirs: []string{path}}.read()
	}
	return rootPlaces{files: []string{path}}.read()
}
