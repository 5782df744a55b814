//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf16"

	"github.com/bearerd/bearerd/test/e2e/rig"
)

// ntlmServer takes every password, and holds a login to the connection that it
// was begun on. It reads and writes the messages of [MS-NLMP], section 2.2.1.
type ntlmServer struct{ connections atomic.Int64 }

// ntlmLogin is how far a connection has come. Its calls come one by one.
type ntlmLogin struct {
	challenged bool
	user       string
}

type ntlmKey struct{}

func (s *ntlmServer) connContext(ctx context.Context, _ net.Conn) context.Context {
	s.connections.Add(1)
	return context.WithValue(ctx, ntlmKey{}, new(ntlmLogin))
}

func (s *ntlmServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	login := r.Context().Value(ntlmKey{}).(*ntlmLogin)
	if text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "NTLM "); ok {
		message, err := base64.StdEncoding.DecodeString(text)
		switch {
		case err != nil || len(message) < 12:
			http.Error(w, "no message of NTLM", http.StatusBadRequest)
			return
		case message[8] == 1:
			login.challenged = true
			w.Header().Set("WWW-Authenticate", "NTLM "+base64.StdEncoding.EncodeToString(ntlmChallenge()))
			w.WriteHeader(http.StatusUnauthorized)
			return
		case message[8] == 3 && login.challenged:
			login.user = ntlmUser(message)
		}
	}
	if login.user == "" {
		w.Header().Set("WWW-Authenticate", "NTLM")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprintln(w, login.user)
}

func ntlmChallenge() []byte {
	message := make([]byte, 48)
	copy(message, "NTLMSSP\x00")
	message[8] = 2
	binary.LittleEndian.PutUint32(message[16:], 48)         // where the empty target name is
	binary.LittleEndian.PutUint32(message[20:], 0x00008201) // Unicode, NTLM, always sign
	copy(message[24:], "12345678")
	return message
}

func ntlmUser(message []byte) string {
	if len(message) < 44 {
		return ""
	}
	length, at := int(binary.LittleEndian.Uint16(message[36:])), int(binary.LittleEndian.Uint32(message[40:]))
	if at < 0 || at+length > len(message) {
		return ""
	}
	var units []uint16
	for field := message[at : at+length]; len(field) >= 2; field = field[2:] {
		units = append(units, binary.LittleEndian.Uint16(field))
	}
	return string(utf16.Decode(units))
}

// curl logs in by NTLM through the proxy, to a host that no route names, and is
// still logged in at its next calls; a curl without a login gets nothing of it.
func TestNTLMLoginsOfUnroutedHosts(t *testing.T) {
	const url = "http://intranet.example/"
	s := new(ntlmServer)
	server := httptest.NewUnstartedServer(s)
	server.Config.ConnContext = s.connContext
	server.Start()
	t.Cleanup(server.Close)
	d := env.Start(t, rig.Settings{
		Upstream: map[string]string{"intranet.example:80": server.Listener.Addr().String()},
		Routes:   "\n  - {service: keyvault, hosts: [payroll.vault.azure.net]}\n",
	})
	for _, user := range []string{"alice", "bob"} {
		got := rig.Run(t, append(env.BaseEnv(), viaAbsoluteURL().env(d)...), t.TempDir(), "curl", "--silent", "--show-error", "--max-time", "30",
			"--ntlm", "--user", user+":x", url+"1", url+"2", url+"3")
		if want := strings.Repeat(user+"\n", 3); got != want {
			t.Errorf("%s is taken for %q", user, got)
		}
	}
	if n := s.connections.Load(); n != 2 {
		t.Errorf("two callers took %d connections", n)
	}
	if a := curl(t, d, viaAbsoluteURL(), url); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != "NTLM" {
		t.Errorf("a stranger got %d %q", a.status, a.body)
	}
}
