package azuretest

import (
	"net/http"
	"strings"
	"testing"
)

const (
	armURL    = "https://" + ARMHost
	groupsURL = armURL + "/subscriptions/" + Subscription + "/resourcegroups"
	apiQuery  = "?api-version=2021-04-01"
)

func (w *world) arm(method, url, body string) answer {
	w.t.Helper()
	return w.call(ARMAudience, method, url, body)
}

func TestARMChallenges(t *testing.T) {
	w := newWorld(t, Options{})
	for audience, code := range map[string]string{"": "AuthenticationFailed", VaultAudience: "InvalidAuthenticationTokenAudience"} {
		a := w.call(audience, "GET", groupsURL+apiQuery, "")
		a.want(t, http.StatusUnauthorized, `"code":"`+code+`"`)
		got := a.Header.Get("WWW-Authenticate")
		if !strings.HasPrefix(got, `Bearer authorization_uri="https://login.windows.net/`+testTenant+`", error="invalid_token", `) {
			t.Errorf("got challenge %q", got)
		}
	}
	r, _ := http.NewRequest("GET", groupsURL+apiQuery, nil)
	r.Header.Set("Authorization", "Bearer "+w.token(ARMAudience))
	w.do(r).want(t, http.StatusOK)
	w.Tokens.Revoke()
	w.do(r).want(t, http.StatusUnauthorized, "revoked")
}

func TestARMListsInPagesWithAbsoluteLinks(t *testing.T) {
	w := newWorld(t, Options{})
	w.arm("GET", groupsURL, "").want(t, http.StatusBadRequest, "MissingApiVersionParameter")
	w.arm("GET", armURL+"/subscriptions"+apiQuery, "").want(t, http.StatusOK, Subscription)
	w.arm("GET", armURL+"/SUBSCRIPTIONS/"+strings.ToUpper(Subscription)+apiQuery, "").want(t, http.StatusOK, Subscription)
	var names []string
	for url := groupsURL + apiQuery; url != ""; {
		var page struct {
			Value    []struct{ Name string }
			NextLink string
		}
		w.arm("GET", url, "").json(t, &page)
		for _, item := range page.Value {
			names = append(names, item.Name)
		}
		if url = page.NextLink; url != "" && !strings.HasPrefix(url, groupsURL+"?") {
			t.Fatalf("the next page is at %q", url)
		}
	}
	if got := strings.Join(names, " "); got != "dev prod shared staging test" {
		t.Errorf("got %q", got)
	}
	for url, code := range map[string]string{
		armURL + "/providers" + apiQuery:           "NotFound",
		armURL + "/subscriptions/other" + apiQuery: "SubscriptionNotFound",
		groupsURL + "/none" + apiQuery:             "ResourceGroupNotFound",
	} {
		w.arm("GET", url, "").want(t, http.StatusNotFound, `"code":"`+code+`"`)
	}
}

func TestARMGroups(t *testing.T) {
	w := newWorld(t, Options{})
	w.arm("PUT", groupsURL+"/Fresh"+apiQuery, "").want(t, http.StatusBadRequest)
	w.arm("PUT", groupsURL+"/Fresh"+apiQuery, `{"location":"uksouth"}`).want(t, http.StatusCreated, `"name":"Fresh"`)
	w.arm("PUT", groupsURL+"/fresh"+apiQuery, `{"location":"uksouth","tags":{"a":"b"}}`).want(t, http.StatusOK)
	w.arm("GET", groupsURL+"/FRESH"+apiQuery, "").want(t, http.StatusOK, `"a":"b"`)
	w.arm("HEAD", groupsURL+"/fresh"+apiQuery, "").want(t, http.StatusNoContent)
	w.arm("POST", groupsURL+"/fresh"+apiQuery, "").want(t, http.StatusMethodNotAllowed)
	w.arm("POST", groupsURL+apiQuery, "").want(t, http.StatusMethodNotAllowed)
}

// wantOperation requires what an answer of an operation under way says, and
// gives where to ask on.
func (a answer) wantOperation(t *testing.T) (status, location string) {
	t.Helper()
	a.want(t, http.StatusAccepted)
	status, location = a.Header.Get("Azure-AsyncOperation"), a.Header.Get("Location")
	const base = armURL + "/subscriptions/" + Subscription + "/"
	if !strings.HasPrefix(status, base+"operationStatuses/") || !strings.HasPrefix(location, base+"operationresults/") || a.Header.Get("Retry-After") != "3" {
		t.Fatalf("an operation is announced by %v", a.Header)
	}
	return status, location
}

func TestARMGoesOnAtARegionalHost(t *testing.T) {
	const regional = "westeurope." + ARMHost
	w := newWorld(t, Options{Hosts: []string{ARMHost, regional}, ARM: ARMOptions{Regional: regional}})
	w.arm("GET", groupsURL+apiQuery, "").want(t, http.StatusOK, `"nextLink":"https://`+regional+"/subscriptions/")
	a := w.arm("DELETE", groupsURL+"/dev"+apiQuery, "")
	a.want(t, http.StatusAccepted)
	status := a.Header.Get("Azure-AsyncOperation")
	if !strings.HasPrefix(status, "https://"+regional+"/") {
		t.Fatalf("the operation goes on at %q", status)
	}
	w.arm("GET", strings.Replace(status, regional, ARMHost, 1), "").want(t, http.StatusNotFound, "OperationNotFound")
	w.arm("GET", status, "").want(t, http.StatusOK, "InProgress")
}

func TestARMOperationsTakeAWhile(t *testing.T) {
	w := newWorld(t, Options{ARM: ARMOptions{Polls: 2, RetryAfter: 3}})
	const disk = groupsURL + "/dev/providers/Microsoft.Compute/disks/Big" + apiQuery
	w.arm("PUT", strings.Replace(disk, "dev", "none", 1), "{}").want(t, http.StatusNotFound)
	w.arm("PUT", disk, "").want(t, http.StatusBadRequest)
	w.arm("GET", disk, "").want(t, http.StatusNotFound, "ResourceNotFound")

	status, _ := w.arm("PUT", disk, `{"location":"uksouth"}`).wantOperation(t)
	w.arm("GET", disk, "").want(t, http.StatusOK, "Creating")
	for range 2 {
		a := w.arm("GET", status, "")
		a.want(t, http.StatusOK, "InProgress")
		if a.Header.Get("Retry-After") != "3" {
			t.Error("an operation under way says nothing about when to ask")
		}
	}
	w.arm("GET", status, "").want(t, http.StatusOK, "Succeeded")
	w.arm("GET", strings.ToLower(disk), "").want(t, http.StatusOK, "Succeeded", `"name":"Big"`, "uksouth")
	w.arm("POST", disk, "").want(t, http.StatusMethodNotAllowed)

	_, location := w.arm("DELETE", groupsURL+"/dev"+apiQuery, "").wantOperation(t)
	for range 2 {
		if next := w.arm("GET", location, "").Header.Get("Location"); next != location {
			t.Errorf("the operation goes on at %q, want %q", next, location)
		}
	}
	w.arm("GET", location, "").want(t, http.StatusOK)
	w.arm("GET", groupsURL+"/dev"+apiQuery, "").want(t, http.StatusNotFound)

	disk2 := strings.Replace(disk, "dev", "prod", 1)
	w.arm("PUT", disk2, "{}").wantOperation(t)
	_, location = w.arm("DELETE", disk2, "").wantOperation(t)
	for range 3 {
		w.arm("GET", location, "")
	}
	w.arm("GET", disk2, "").want(t, http.StatusNotFound)
	for _, path := range []string{"operationStatuses", "operationresults"} {
		w.arm("GET", armURL+"/subscriptions/"+Subscription+"/"+path+"/none"+apiQuery, "").want(t, http.StatusNotFound, "OperationNotFound")
	}
}
