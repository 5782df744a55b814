//go:build e2e && linux

package steering

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/bearerd/bearerd/imds/imdstest"
	"github.com/bearerd/bearerd/test/azuretest"
	"github.com/bearerd/bearerd/test/e2e/rig"
)

// Where the emulated Internet is, of addresses that are nobody's (RFC 5737, RFC
// 3849).
const (
	serviceV4, serviceV6 = "203.0.113.7", "2001:db8::7"
	otherV4, otherV6     = "203.0.113.8", "2001:db8::8"
	rawV4, rawV6         = "203.0.113.9", "2001:db8::9"
	dnsAddress           = "203.0.113.53"
	imdsAddress          = "169.254.169.254"

	vaultHost = "payroll.vault.azure.net"
	grpcHost  = "grpc.contoso.example"
	otherHost = "other.example"
)

const (
	secretURL = "https://" + vaultHost + "/secrets/db?api-version=7.4"
	secret    = "kept in the vault alone"
)

const (
	payrollID = "00000000-0000-0000-0000-00000000000a"
	reportsID = "00000000-0000-0000-0000-00000000000b"
	apiID     = "api://contoso-grpc"
)

// azure is a network with all that the app host calls.
type azure struct {
	*rig.Namespace
	imds  *rig.IMDS
	cloud *azuretest.Cloud
	vault func() int // how many connections it has taken
	other func() int
}

func newAzure(t *testing.T) *azure {
	t.Helper()
	a := &azure{Namespace: rig.NewNamespace(t)}
	a.plugIn(t)
	identities := imdstest.Options{NoSystem: true, Identities: []imdstest.Identity{
		{ClientID: payrollID, ObjectID: "00000000-0000-0000-0000-0000000000aa", ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/payroll"},
		{ClientID: reportsID, ObjectID: "00000000-0000-0000-0000-0000000000bb", ResourceID: "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"},
	}}
	var other string
	a.Inside(func() {
		a.imds = rig.StartIMDS(t, identities)
		tokens := azuretest.NewVerifier(a.imds.Tenant(), a.imds.PublicKey(), nil)
		a.cloud = a.imds.StartCloud(t, azuretest.Options{Hosts: []string{vaultHost}, Others: map[string]http.Handler{
			grpcHost: azuretest.Protect(tokens, apiID, http.HandlerFunc(sayGRPC)),
		}})
		other = host.CA.ServeTLS(t, http.HandlerFunc(serveOther), otherHost)
	})
	a.cloud.Vault.SetSecret(vaultHost, "db", secret)
	services := a.cloud.ConnectTo()[vaultHost]
	a.vault = a.relay(t, ":443", services, serviceV4, serviceV6)
	a.other = a.relay(t, ":443", other, otherV4, otherV6)
	a.relay(t, ":80", strings.TrimPrefix(a.imds.URL, "http://"), imdsAddress)
	a.imds.URL = "http://" + imdsAddress
	for _, at := range []string{rawV4, rawV6} {
		rig.Serve(t, a.Listen(net.JoinHostPort(at, "443")), func(conn net.Conn) { _, _ = io.Copy(conn, conn) })
	}
	for _, at := range []string{otherV4, otherV6} {
		s := &http.Server{Handler: http.HandlerFunc(serveOther), Protocols: new(http.Protocols)}
		s.Protocols.SetHTTP1(true)
		s.Protocols.SetUnencryptedHTTP2(true)
		l := a.Listen(net.JoinHostPort(at, "80"))
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	}
	a.serveDNS(t)
	return a
}

// plugIn connects the app host and Azure, and gives Azure its addresses.
func (a *azure) plugIn(t *testing.T) {
	t.Helper()
	onHost(t, "ip", "link", "add", "h0", "type", "veth", "peer", "name", "a0", "netns", a.Path())
	t.Cleanup(func() { onHost(t, "ip", "link", "del", "h0") })
	for _, args := range []string{"addr add 10.9.0.1/24 dev h0", "addr add fd00:9::1/64 dev h0 nodad", "link set h0 up"} {
		onHost(t, "ip", strings.Fields(args)...)
	}
	a.IP(`
		addr add 10.9.0.2/24 dev a0
		addr add fd00:9::2/64 dev a0 nodad
		link set a0 up`)
	for _, at := range []string{serviceV4, otherV4, rawV4, dnsAddress, imdsAddress} {
		a.IP("addr add " + at + "/32 dev a0")
	}
	for _, at := range []string{serviceV6, otherV6, rawV6} {
		a.IP("addr add " + at + "/128 dev a0 nodad")
	}
	onHost(t, "ip", "route", "add", "default", "via", "10.9.0.2")
	onHost(t, "ip", "-6", "route", "add", "default", "via", "fd00:9::2")
}

// onHost runs a program of the app host's administrator.
func onHost(t *testing.T, name string, args ...string) string {
	t.Helper()
	return rig.Run(t, host.BaseEnv(), "/", name, args...)
}

// relay has a server answer at addresses of Azure's.
func (a *azure) relay(t *testing.T, port, to string, addresses ...string) (count func() int) {
	t.Helper()
	var counts []func() int
	for _, at := range addresses {
		counts = append(counts, rig.Serve(t, a.Listen(net.JoinHostPort(at, port[1:])), rig.Relay(a.Dial, to)))
	}
	return func() (sum int) {
		for _, count := range counts {
			sum += count()
		}
		return sum
	}
}

func (a *azure) serveDNS(t *testing.T) {
	t.Helper()
	var packets net.PacketConn
	a.Inside(func() {
		var err error
		if packets, err = net.ListenPacket("udp", dnsAddress+":53"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(rig.Names(map[string][]string{
		vaultHost: {serviceV4, serviceV6}, grpcHost: {serviceV4, serviceV6}, otherHost: {otherV4, otherV6},
	}).ServeDNS(packets))
}

// sayGRPC gives a unary call its own message back.
func sayGRPC(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, err := io.Copy(w, r.Body)
	status := "0"
	if err != nil || r.ProtoMajor != 2 || r.Header.Get("Te") != "trailers" {
		status = "13" // internal
	}
	w.Header().Set("Grpc-Status", status)
}

// large is what the unrouted service has to give, the same at each run.
func large() []byte {
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, 32<<20)
	_, _ = random.Read(content) // never fails
	return content
}

// serveOther is a service that no route names: /large gives much, a PUT is told
// the digest of what it brought, and /hold never ends.
func serveOther(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPut:
		sum := sha256.New()
		_, _ = io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%x", sum.Sum(nil))
	case r.URL.Path == "/large":
		_, _ = w.Write(large())
	case r.URL.Path == "/hold":
		_, _ = w.Write(make([]byte, 1<<20))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		_, _ = io.WriteString(w, "hello from "+r.Proto)
	}
}
