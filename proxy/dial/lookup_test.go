package dial

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// The names in between tell of a private endpoint whose zone this network does
// not know.
func TestAliases(t *testing.T) {
	s := startDNS(t,
		"payroll.vault.azure.net. 60 IN CNAME payroll.privatelink.vaultcore.azure.net.",
		"payroll.privatelink.vaultcore.azure.net. 60 IN CNAME data-prod.vaultcore.azure.net.",
		"data-prod.vaultcore.azure.net. 60 IN A 20.61.0.1",
		"round.example. 60 IN CNAME round.example.",
	)
	d := NewDNS([]netip.AddrPort{s.addr})
	got, err := d.Aliases(t.Context(), "Payroll.vault.azure.net")
	if want := []string{"payroll.privatelink.vaultcore.azure.net", "data-prod.vaultcore.azure.net"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := d.Aliases(t.Context(), "data-prod.vaultcore.azure.net"); err != nil || len(got) != 0 {
		t.Errorf("a name of its own: %v, %v", got, err)
	}
	if got, err := d.Aliases(t.Context(), "round.example"); err != nil || len(got) != maxAliases {
		t.Errorf("a circle: %v, %v", got, err)
	}
}

func TestLookupIsWhatIsDialled(t *testing.T) {
	d, err := New(Options{ConnectTo: map[string]string{"vault.example": "127.0.0.1:8443"}})
	if err != nil {
		t.Fatal(err)
	}
	targets, byOperator, err := d.Lookup(t.Context(), "vault.example:443")
	if err != nil || !byOperator || !slices.Equal(targets, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8443")}) {
		t.Errorf("got %v, %t, %v", targets, byOperator, err)
	}
	if _, _, err := d.Lookup(t.Context(), "127.0.0.1:443"); !errors.As(err, new(*ForbiddenError)) {
		t.Errorf("a forbidden one: %v", err)
	}
}
