package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bearerd/bearerd/imds/imdstest"
)

// issuer signs the certificates of these tests.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{t: t}
	i.cert, i.key = i.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return i
}

// sign signs with the authority or, while there is none, with the key itself.
func (i *issuer) sign(template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := i.cert, i.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		i.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return cert, key
}

func (i *issuer) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	return pool
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// files writes a server's certificate and its key, and gives the certificate.
func (i *issuer) files(dir, name string) *x509.Certificate {
	i.t.Helper()
	cert, key := i.sign(&x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	write(i.t, filepath.Join(dir, "proxy.pem"), certPEM(cert))
	write(i.t, filepath.Join(dir, "proxy.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return cert
}

func (i *issuer) client(name string) tls.Certificate {
	cert, key := i.sign(&x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// throughProxy asks for the secret by a client that has an https proxy.
func throughProxy(r *running, config *tls.Config) (int, error) {
	_, port, _ := strings.Cut(r.Addresses()[0], ":")
	transport := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "https", Host: "proxy.corp.example:" + port}),
		TLSClientConfig: config,
		DialContext:     dialInstead(r.Addresses()[0]),
	}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get("https://payroll.vault.azure.net/secrets/db?api-version=7.4")
	if err != nil {
		return 0, err
	}
	answer.Body.Close()
	return answer.StatusCode, nil
}

func TestListenerSpeaksTLSAndAsksForClientCertificates(t *testing.T) {
	dir := t.TempDir()
	servers, clients := newIssuer(t), newIssuer(t)
	first := servers.files(dir, "proxy.corp.example")
	write(t, filepath.Join(dir, "clients.pem"), certPEM(clients.cert))
	r := launch(t, imdstest.Options{}, publicCloud+strings.Replace(vaultRoute, "gateway: vault", "gateway: vault, callers: {certificates: [payroll.corp.example]}", 1)+fmt.Sprintf(
		"names: [proxy.corp.example]\nlisten: [{address: \"127.0.0.1:0\", tls: {cert_file: %[1]s/proxy.pem, key_file: %[1]s/proxy.key, client_ca: %[1]s/clients.pem}}]\n", dir))
	roots := servers.pool()
	roots.AppendCertsFromPEM(r.Root().RootPEM())
	known := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{clients.client("payroll.corp.example")}}

	if status, err := throughProxy(r, known.Clone()); status != http.StatusOK {
		t.Errorf("CONNECT by TLS: %d, %v", status, err)
	}
	other := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{clients.client("reports.corp.example")}}
	if status, err := throughProxy(r, other); status != http.StatusForbidden {
		t.Errorf("a caller with a certificate of another name: %d, %v", status, err)
	}
	for name, config := range map[string]*tls.Config{
		"none":       {RootCAs: roots},
		"a foreign":  {RootCAs: roots, Certificates: []tls.Certificate{servers.client("payroll.corp.example")}},
		"of TLS 1.1": {RootCAs: roots, Certificates: known.Certificates, MaxVersion: tls.VersionTLS11},
	} {
		if status, err := throughProxy(r, config); err == nil {
			t.Errorf("a caller with %s certificate got %d", name, status)
		}
	}
	metric := func(want string) bool {
		_, page := r.get("http://" + r.AdminAddress() + "/metrics")
		return strings.Contains(page, want)
	}
	if !metric(`bearerd_listener_certificate_failing{listener="127.0.0.1:0"} 0`) || !metric(`bearerd_listener_certificate_expiry_timestamp_seconds{listener="127.0.0.1:0"} 1.`) {
		t.Error("the metrics lack the certificate")
	}

	// A file that is half written changes nothing, and is told.
	write(t, filepath.Join(dir, "proxy.pem"), []byte("-----BEGIN"))
	until(t, "the broken file is told", func() bool { return metric(`bearerd_listener_certificate_failing{listener="127.0.0.1:0"} 1`) })
	if got := shownBy(t, r, known); !got.Equal(first) {
		t.Error("another certificate is shown than the last good one")
	}
	second := servers.files(dir, "proxy.corp.example")
	until(t, "the new certificate is shown", func() bool { return shownBy(t, r, known).Equal(second) })
	if !metric(`bearerd_listener_certificate_failing{listener="127.0.0.1:0"} 0`) {
		t.Error("the metrics still tell the failure")
	}
	// So does a client's authority that is taken no longer.
	write(t, filepath.Join(dir, "clients.pem"), certPEM(servers.cert))
	until(t, "the caller is refused", func() bool {
		_, err := throughProxy(r, known.Clone())
		return err != nil
	})
}

// shownBy gives the certificate that the listener shows.
func shownBy(t *testing.T, r *running, config *tls.Config) *x509.Certificate {
	t.Helper()
	config = config.Clone()
	config.ServerName = "proxy.corp.example"
	conn, err := tls.Dial("tcp", r.Addresses()[0], config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

func TestLocalAuthoritySignsForTheListener(t *testing.T) {
	r := launch(t, imdstest.Options{}, publicCloud+vaultRoute+
		"names: [10.1.2.3, proxy.corp.example]\nlisten: [{address: \"127.0.0.1:0\", tls: {authority: true, min_version: \"1.3\"}}]\n")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(r.Root().RootPEM())
	if status, err := throughProxy(r, &tls.Config{RootCAs: roots}); status != http.StatusOK {
		t.Errorf("CONNECT by TLS: %d, %v", status, err)
	}
	for _, name := range []string{"proxy.corp.example", "other.corp.example", ""} {
		conn, err := tls.Dial("tcp", r.Addresses()[0], &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.ConnectionState().PeerCertificates[0].VerifyHostname("proxy.corp.example"); err != nil {
			t.Errorf("asked for %q: %v", name, err)
		}
		conn.Close()
	}
	if conn, err := tls.Dial("tcp", r.Addresses()[0], &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		conn.Close()
		t.Error("TLS 1.2 was taken below min_version")
	}
}
