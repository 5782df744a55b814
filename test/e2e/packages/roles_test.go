//go:build e2e && linux

package packages

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	notify "github.com/coreos/go-systemd/v22/daemon"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

const (
	imdsAddress    = "169.254.169.254" // in the machine's own network namespace
	serviceAddress = "203.0.113.7"     // nobody's (RFC 5737)
	secretText     = "kept in the vault alone"
)

// azure is what a virtual machine finds around it, until SIGTERM: IMDS, the
// services by their names, and a certificate authority that systems trust.
func azure() error {
	imds := imdstest.New(imdstest.Options{})
	cloud, err := azuretest.Start(azuretest.Options{Tenant: imds.Tenant(), Key: imds.PublicKey(), IMDS: imds})
	if err != nil {
		return err
	}
	defer cloud.Close()
	cloud.Vault.SetSecret(azuretest.VaultHost, "db", secretText)
	hosts, err := os.OpenFile("/etc/hosts", os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer hosts.Close()
	for host, at := range cloud.ConnectTo() {
		if _, err := fmt.Fprintf(hosts, "%s %s\n", serviceAddress, host); err != nil {
			return err
		}
		// All are at one address.
		if err := relay(serviceAddress+":443", at); err != nil && !strings.Contains(err.Error(), "in use") {
			return err
		}
	}
	if err := relay(imdsAddress+":80", strings.TrimPrefix(cloud.IMDSEndpoint(), "http://")); err != nil {
		return err
	}
	if err := os.WriteFile("/usr/local/share/ca-certificates/azure.crt", cloud.CAPEM(), 0o644); err != nil {
		return err
	}
	if text, err := exec.Command("update-ca-certificates").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	if _, err := notify.SdNotify(false, notify.SdNotifyReady); err != nil {
		return err
	}
	<-end
	return nil
}

// relay leads an address to another one for as long as the program runs.
func relay(address, to string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	handle := rig.Relay(func(address string) (net.Conn, error) { return net.Dial("tcp", address) }, to)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
	return nil
}

// get is the machine's curl: get URL [PROXY ROOTS].
func get() error {
	transport := new(http.Transport)
	if len(os.Args) == 4 {
		proxy, err := url.Parse(os.Args[2])
		if err != nil {
			return err
		}
		pem, err := os.ReadFile(os.Args[3])
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.Proxy, transport.TLSClientConfig = http.ProxyURL(proxy), &tls.Config{RootCAs: roots}
	}
	answer, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get(os.Args[1])
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", answer.Status)
	}
	return nil
}
