package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/bearerd/bearerd/imds"
	"github.com/bearerd/bearerd/proxy/azure"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// calls tries whether the identities may use what the routes name.
func (e *examination) calls(ctx context.Context) []finding {
	transport := &http.Transport{
		Proxy: nil, DialContext: e.dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: e.config.Upstream.RootCAs},
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	hosts, _ := e.routedHosts()
	return eachHost(hosts, func(h routedHost) []finding { return e.call(ctx, transport, h) })
}

// call makes a harmless one. Where the token, or the way there, is missing, that
// was told already.
func (e *examination) call(ctx context.Context, transport http.RoundTripper, h routedHost) []finding {
	e.mu.Lock()
	token := e.got[tokenKey{h.route.Identity, h.route.Audience}]
	e.mu.Unlock()
	if token == nil {
		return nil
	}
	check, ok := h.route.Service.CheckOf(h.host)
	if !ok {
		return []finding{{Check: "call", Level: levelNote, Subject: h.host, Seen: "no call is known that would change nothing here, so that none was made"}}
	}
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+h.address()+check.Target, nil)
	if err != nil {
		return []finding{failed("call", h.host, err)}
	}
	for _, f := range check.Header {
		r.Header.Set(f.Name, f.Value)
	}
	r.Header.Set("User-Agent", "bearerd-doctor/"+versionOf())
	token.SetAuthHeader(r.Header)
	answer, err := (&dated{inner: transport, e: e, who: h.host}).RoundTrip(r)
	if err != nil {
		return nil // TCP and TLS were looked at
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil && len(body) == 0 {
		return []finding{{Check: "call", Level: levelWarn, Subject: h.host, Seen: "its answer broke off", Do: "run doctor again"}}
	}
	return []finding{judgeAnswer(h, check, token, answer, body)}
}

// refused is what a service says of a call that it did not take. Azure's services
// differ in where they say it.
type refused struct {
	Error struct {
		Code       string `json:"code"`
		InnerError struct {
			Code string `json:"code"`
		} `json:"innererror"`
	} `json:"error"`
	Code string `json:"odata.error.code"`
}

// codeOf gives the service's word for the refusal, the most exact one.
func codeOf(answer *http.Response, body []byte) string {
	var r refused
	_ = json.Unmarshal(body, &r) // XML, or none: the field of the header tells
	for _, code := range []string{r.Error.InnerError.Code, answer.Header.Get("X-Ms-Error-Code"), r.Error.Code} {
		if code != "" {
			return imds.Printable(code)
		}
	}
	return "no code"
}

func judgeAnswer(h routedHost, check azure.Check, token *imds.Token, answer *http.Response, body []byte) finding {
	f := finding{Check: "call", Subject: h.host}
	claims, _ := token.Claims() // of an opaque token there are none, and the command has a gap
	code := codeOf(answer, body)
	switch {
	case answer.StatusCode < 300:
		f.Seen = fmt.Sprintf("the identity may read %s", check.Reads)
	case answer.StatusCode == http.StatusUnauthorized:
		f.Level = levelFail
		f.Seen, f.Do = unauthorized(h, claims, answer)
	case answer.StatusCode == http.StatusForbidden && isNetworkRule(code, body):
		f.Level = levelFail
		f.Seen = fmt.Sprintf("403 %s: the service's firewall does not let this machine in", code)
		f.Do = "add this machine's network to the service's network rules, or call by its private endpoint"
	case answer.StatusCode == http.StatusForbidden:
		f.Level = levelWarn
		f.Seen = fmt.Sprintf("403 %s: the identity may not read %s", code, check.Reads)
		f.Do = "give it a role (it takes some minutes to hold), unless it has one that is narrower and enough for the apps:"
		f.Command = strings.ReplaceAll(check.Grant, "PRINCIPAL", principal(claims))
	case answer.StatusCode == http.StatusTooManyRequests:
		f.Level, f.Seen, f.Do = levelWarn, "429: the service is throttling", "run doctor again later; apps see the same"
	default:
		f.Level, f.Seen, f.Do = levelWarn, fmt.Sprintf("it answers %d %s to a call that reads %s", answer.StatusCode, code, check.Reads), "look the code up in the service's documentation"
	}
	return f
}

func principal(claims imds.Claims) string {
	if claims.ObjectID == "" {
		return "OBJECT_ID"
	}
	return claims.ObjectID
}

// isNetworkRule tells a firewall's refusal from a missing role. Key Vault has
// codes of their own for it; Storage says AuthorizationFailure of its firewall,
// and AuthorizationPermissionMismatch of roles
// (https://learn.microsoft.com/troubleshoot/azure/azure-storage/blobs/authentication/storage-troubleshoot-403-errors).
func isNetworkRule(code string, body []byte) bool {
	switch code {
	case "ForbiddenByFirewall", "ForbiddenByConnection", "ForbiddenByNsp", "AuthorizationFailure", "PublicNetworkAccessDisabled":
		return true
	}
	return strings.Contains(string(body), "Client address is not authorized")
}

// unauthorized compares the token with what the challenge asks for.
func unauthorized(h routedHost, claims imds.Claims, answer *http.Response) (seen, do string) {
	challenge := answer.Header.Get("WWW-Authenticate")
	wanted, tenant := parameter(challenge, "resource", "resource_id"), tenantOf(parameter(challenge, "authorization", "authorization_uri"))
	switch {
	case wanted != "" && !sameAudience(wanted, h.route.Audience):
		return fmt.Sprintf("401: it wants tokens for %s, and the route's are for %s", imds.Printable(wanted), h.route.Audience),
			"correct the route's service, or its audience: audience: " + imds.Printable(wanted)
	case tenant != "" && claims.TenantID != "" && !strings.EqualFold(tenant, claims.TenantID):
		return fmt.Sprintf("401: it belongs to the tenant %s, and the identity to %s", imds.Printable(tenant), claims.TenantID),
			"use an identity of the service's tenant: a managed identity cannot get tokens of another"
	}
	return "401: the service does not accept the token", "compare this machine's clock, and the cloud of the configuration with the service's"
}

// parameter gives a parameter of a challenge by the first of its names.
func parameter(challenge string, names ...string) string {
	for _, name := range names {
		found := regexp.MustCompile(`(?:^|[ ,])` + name + `="?([^", ]*)`).FindStringSubmatch(challenge)
		if found != nil {
			return found[1]
		}
	}
	return ""
}

func sameAudience(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}

// tenantOf gives the tenant in a login's URL.
func tenantOf(login string) string {
	_, path, _ := strings.Cut(login, "://")
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}
