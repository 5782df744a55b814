package azure

import (
	"fmt"
	"strings"
	"testing"
)

// answer is one cloud as /metadata/endpoints tells it.
func answer(name string, edits ...string) string {
	text := fmt.Sprintf(`{
  "name": %q, "portal": "https://portal.%[1]s.example", "media": "https://rest.media.%[1]s.example",
  "authentication": {"loginEndpoint": "https://login.%[1]s.example/", "tenant": "common", "identityProvider": "AAD",
    "audiences": ["https://management.core.%[1]s.example/", "https://management.%[1]s.example/"]},
  "resourceManager": "https://management.%[1]s.example/", "batch": "https://batch.core.%[1]s.example/",
  "suffixes": {"storage": "core.%[1]s.example", "keyVaultDns": "vault.%[1]s.example", "mhsmDns": "managedhsm.%[1]s.example",
    "sqlServerHostname": "database.%[1]s.example", "acrLoginServer": "azurecr.%[1]s.example"}
}`, name)
	return strings.NewReplacer(edits...).Replace(text)
}

func TestCloudOfAnEndpointsAnswer(t *testing.T) {
	for name, test := range map[string]struct{ text, name string }{
		"one":                     {answer("gap"), ""},
		"one by its name":         {answer("gap"), "GAP"},
		"an array of one":         {"[" + answer("gap") + "]", ""},
		"one of several":          {"[" + answer("other") + "," + answer("gap") + "]", "gap"},
		"without a name":          {answer("gap", `"name": "gap", `, ""), "gap"},
		"with a mark":             {"\ufeff" + answer("gap") + "\r\n", ""},
		"suffixes with dots":      {answer("gap", `"vault.gap`, `".vault.gap`, `"managedhsm.gap`, `".managedhsm.gap`), ""},
		"names in another case":   {answer("gap", "keyVaultDns", "keyvaultDns", "mhsmDns", "mhsmDNS"), ""},
		"an audience of the host": {answer("gap", `"https://management.core.gap.example/", `, `"api://x", `), ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseEndpoints([]byte(test.text), test.name)
			if err != nil {
				t.Fatal(err)
			}
			cloud, err := NewCloud(d)
			if err != nil {
				t.Fatal(err)
			}
			if cloud.Name != "gap" || cloud.Login != "login.gap.example" {
				t.Errorf("the cloud is %s with the login %s", cloud.Name, cloud.Login)
			}
			for host, want := range map[string][2]string{
				"payroll.vault.gap.example":   {"keyvault", "https://vault.gap.example"},
				"pool.managedhsm.gap.example": {"managedhsm", "https://managedhsm.gap.example"},
				"acct.blob.core.gap.example":  {"storage", "https://storage.azure.com/"},
				"acct.dfs.core.gap.example":   {"storage", "https://storage.azure.com/"},
				"management.gap.example":      {"arm", "https://management.gap.example/"},
			} {
				s, ok := cloud.ServiceOf(host)
				if !ok || s.Name != want[0] || s.Audience != want[1] {
					t.Errorf("%s belongs to %+v, want %s", host, s, want)
				}
			}
			for _, host := range []string{"x.management.gap.example", "payroll.vault.azure.net", "management.azure.com", "management.core.gap.example"} {
				if s, ok := cloud.ServiceOf(host); ok {
					t.Errorf("%s belongs to %s", host, s.Name)
				}
			}
		})
	}
}

func TestEndpointsWithoutAManagedHSM(t *testing.T) {
	for _, edit := range []string{`"N/A"`, `""`} {
		d, err := ParseEndpoints([]byte(answer("gap", `"managedhsm.gap.example"`, edit)), "")
		if err != nil || len(d.Services) != 3 {
			t.Errorf("%s: %v, %+v", edit, err, d)
		}
	}
}

func TestEndpointsThatLackSomething(t *testing.T) {
	const again = "; ask with another api-version, such as 2022-09-01, or define the cloud by services"
	for name, test := range map[string]struct{ text, name, want string }{
		"no JSON":      {"<html>", "", "it is not what Azure Resource Manager answers to /metadata/endpoints: invalid character '<' looking for beginning of value; save that answer as it comes, in UTF-8"},
		"two":          {answer("a") + answer("b"), "", "it is not what Azure Resource Manager answers to /metadata/endpoints: invalid character '{' after top-level value; save that answer as it comes, in UTF-8"},
		"empty":        {"[]", "", "it lists no cloud; ask with another api-version, such as 2022-09-01"},
		"several":      {"[" + answer("a") + "," + answer("b") + "]", "", `it lists several clouds; pick one by name: "a", "b"`},
		"not there":    {"[" + answer("a") + "," + answer("b") + "]", "c", `it lists no cloud "c"; it has "a", "b"`},
		"another name": {answer("a"), "c", `it lists no cloud "c"; it has "a"`},
		"no name":      {answer("a", `"name": "a", `, ""), "", "its cloud has no name; give it one by name"},
		"no ARM":       {answer("a", "resourceManager", "x"), "", "resourceManager is missing" + again},
		"no login":     {answer("a", "loginEndpoint", "x"), "", "authentication.loginEndpoint is missing" + again},
		"no audience":  {answer("a", "audiences", "x"), "", "authentication.audiences is missing" + again},
		"no vaults":    {answer("a", "keyVaultDns", "x"), "", "suffixes.keyVaultDns is missing" + again},
		"no storage":   {answer("a", `"storage": "core.a.example"`, `"storage": "n/a"`), "", "suffixes.storage is missing" + again},
		"plain http":   {answer("a", `"https://management.a.example/",`, `"http://management.a.example/",`), "", `resourceManager is "http://management.a.example/", which is no https URL` + again},
		"a port":       {answer("a", `"https://management.a.example/",`, `"https://management.a.example:30024/",`), "", `resourceManager is "https://management.a.example:30024/", and a host without a port is wanted; define the cloud by services`},
		// What versions before suffixes were told answer.
		"an old version": {`{"galleryEndpoint": "https://gallery.a.example/", "authentication": {"loginEndpoint": "https://login.a.example/", "audiences": ["https://management.a.example/"]}}`, "a",
			"resourceManager is missing" + again + "\nsuffixes.keyVaultDns is missing" + again + "\nsuffixes.storage is missing" + again},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseEndpoints([]byte(test.text), test.name)
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}
