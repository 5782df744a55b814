package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/bearerd/bearerd/cache"
	"github.com/bearerd/bearerd/cmd/internal/admin"
	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/imds/imdstest"
)

const (
	machine  = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm"
	assigned = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reports"
)

// said is a source whose tokens are what the test says.
type said struct{ secret string }

// Token implements cache.Source.
func (s *said) Token(context.Context, imds.Identity, string) (*imds.Token, error) {
	return imds.NewToken(s.secret, time.Now().Add(time.Hour), time.Time{}), nil
}

func claiming(issued int64, object, resource, app string) string {
	text, err := json.Marshal(map[string]any{"oid": object, "xms_mirid": resource, "appid": app, "iat": issued})
	if err != nil {
		panic(err)
	}
	return "e30." + base64.RawURLEncoding.EncodeToString(text) + ".c2lnbmF0dXJl"
}

func TestAChangeOfTheIdentityIsToldOnce(t *testing.T) {
	reports := claiming(1, "o1", assigned, "11111111-1111-1111-1111-111111111111")
	tests := []struct {
		name    string
		id      imds.Identity
		secrets []string
		said    int    // warnings
		field   string // of the last one
	}{
		{"the same", imds.Identity{}, []string{reports, reports, claiming(2, "O1", strings.ToUpper(assigned), "")}, 0, ""},
		{"a system-assigned one comes", imds.Identity{}, []string{reports, claiming(2, "o2", machine, ""), claiming(3, "o2", machine, "")}, 1,
			`identity: {client_id: "11111111-1111-1111-1111-111111111111"}`},
		{"without a client id to pin", imds.Identity{}, []string{claiming(1, "o1", assigned, ""), claiming(2, "o2", machine, "")}, 1,
			`identity: {resource_id: "` + assigned + `"}`},
		{"there and back", imds.Identity{}, []string{reports, claiming(2, "o2", machine, ""), claiming(3, "o1", assigned, "")}, 2, ""},
		{"an old token of another audience", imds.Identity{}, []string{claiming(1, "o1", assigned, ""), claiming(5, "o2", machine, ""), reports, claiming(6, "o2", machine, "")}, 1, ""},
		{"made anew under the same name", imds.Identity{ResourceID: assigned}, []string{reports, claiming(2, "o2", assigned, "")}, 1, ""},
		{"the machine has moved", imds.Identity{}, []string{claiming(1, "o2", machine, ""), claiming(2, "o2", machine+"2", "")}, 1, ""},
		{"opaque tokens", imds.Identity{}, []string{reports, "opaque", "a.b.c", reports}, 0, ""},
		{"tokens without the claims", imds.Identity{}, []string{reports, claiming(2, "", "", "x"), reports}, 0, ""},
		{"a claim that comes late", imds.Identity{}, []string{claiming(1, "o1", "", ""), reports, claiming(2, "o1", machine, "")}, 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			core, lines := observer.New(zap.DebugLevel)
			source, counted := &said{}, 0
			p := &principals{source: source, changed: func() { counted++ }, log: zap.New(core), now: time.Now, known: make(map[imds.Identity]principal)}
			for _, source.secret = range tt.secrets {
				if _, err := p.Token(t.Context(), tt.id, "https://vault.azure.net"); err != nil {
					t.Fatal(err)
				}
			}
			if lines.Len() != tt.said || counted != tt.said {
				t.Fatalf("%d lines, %d counted, want %d: %v", lines.Len(), counted, tt.said, lines.All())
			}
			shown := p.status()
			if len(shown) != 1 || (shown[0].Previous != nil) != (tt.said > 0) || shown[0].ChangedAt.IsZero() != (tt.said == 0) {
				t.Errorf("the status is %+v", shown)
			}
			if tt.said == 0 {
				return
			}
			last := lines.All()[tt.said-1]
			if pin, _ := last.ContextMap()["pin"].(string); tt.field != "" && pin != tt.field {
				t.Errorf("the line says %v, want %s", last.ContextMap(), tt.field)
			}
			for _, secret := range tt.secrets {
				for field, value := range last.ContextMap() {
					if text, ok := value.(string); ok && strings.Contains(text, secret) {
						t.Errorf("%s holds a token", field)
					}
				}
			}
		})
	}
}

func TestIdentitiesOfEarlierConfigurationsAreForgotten(t *testing.T) {
	kept := imds.Identity{ClientID: "1"}
	p := &principals{source: &said{claiming(1, "o", machine, "")}, known: make(map[imds.Identity]principal)}
	for _, id := range []imds.Identity{{}, kept, {ClientID: "2"}} {
		if _, err := p.Token(t.Context(), id, "https://vault.azure.net"); err != nil {
			t.Fatal(err)
		}
	}
	p.keep([]cache.Key{{Identity: kept}})
	if shown := p.status(); len(shown) != 1 || shown[0].Identity != "client_id:1" {
		t.Errorf("remembered are %+v", shown)
	}
}

// A policy gives the machine a system-assigned identity while bearerd runs. IMDS
// goes on with the tokens that it has, so that audiences notice one by one.
func TestIdentityThatChangesUnderARunningDaemon(t *testing.T) {
	reports := imdstest.Identity{ClientID: "11111111-1111-1111-1111-111111111111", ObjectID: "o1", ResourceID: assigned}
	const twoRoutes = "routes:\n  - {service: keyvault, hosts: [payroll.vault.azure.net], gateway: vault}\n  - {service: arm, hosts: [management.azure.com], gateway: arm}\n"
	r := launch(t, imdstest.Options{NoSystem: true, Identities: []imdstest.Identity{reports}}, publicCloud+anyPort+twoRoutes)
	r.secret()
	if s := r.shown(); len(s.Identities) != 1 || s.Identities[0].Principal != (admin.Principal{ObjectID: "o1", ResourceID: assigned}) || s.Identities[0].Previous != nil {
		t.Errorf("at first /status says %+v", s.Identities)
	}
	r.imds.Assign(true, reports)
	for range 2 {
		r.get("http://" + r.Addresses()[0] + "/arm/subscriptions?api-version=2022-12-01")
		if status := r.secret(); status != http.StatusOK {
			t.Errorf("got %d, want 200", status)
		}
	}
	s := r.shown()
	if len(s.Identities) != 1 || s.Identities[0].Previous == nil || s.Identities[0].Previous.ResourceID != assigned || s.Identities[0].ObjectID == "o1" || s.Identities[0].ChangedAt.IsZero() {
		t.Errorf("after the change /status says %+v", s.Identities)
	}
	if n := strings.Count(r.log.String(), "tokens are issued to another identity than before"); n != 1 {
		t.Errorf("it was told %d times:\n%s", n, r.log)
	}
	if _, page := r.get("http://" + r.AdminAddress() + "/metrics"); !strings.Contains(page, "bearerd_identity_changes_total 1") {
		t.Error("/metrics does not count it")
	}
	if strings.Contains(r.log.String(), "eyJ") {
		t.Error("the log holds a token")
	}
}
