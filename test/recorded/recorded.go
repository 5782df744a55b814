// Package recorded holds requests as the clients of Azure Storage have sent them
// from 2009 to now, and what becomes of each on a route of bearerd's. The
// published table is made of it, and the tests send every one.
package recorded

import (
	"fmt"
	"io"
	"strings"
)

// Request is one request of a client that signs with a shared key, and its
// outcome.
type Request struct {
	Version string // the x-ms-version that the client says; empty: none
	Does    string // for people
	Line    string // method and URL: "GET http://acct.blob.core.windows.net/c"
	Header  []string
	Body    string
	Lite    bool // signed as SharedKeyLite

	Upstream string // the version that the service is sent; empty: the call is refused
	Adds     string // the field that is set besides: "x-ms-blob-type: BlockBlob"
	Differs  string // what the client sees otherwise than its version promises
	Refuses  string // why the service refuses what the client's version had it do
	Code     string // of bearerd's refusal

	// Azurite is the status of Azurite's answer, through bearerd. 0: it is not
	// asked.
	Azurite int
	Note    string // where Azurite differs from the service
}

// The hosts that the requests are for.
const (
	Blob  = "http://acct.blob.core.windows.net"
	Queue = "http://acct.queue.core.windows.net"
	Table = "http://acct.table.core.windows.net"
	File  = "http://acct.file.core.windows.net"
)

// Lease stands in a request for the x-ms-lease-id of the last answer that had one.
const Lease = "{x-ms-lease-id}"

// Requests lists all, in an order in which they can be sent one after another to
// an empty account.
func Requests() []Request {
	var all []Request
	for _, api := range [][]Request{blobs(), queues(), tables(), files()} {
		all = append(all, api...)
	}
	return all
}

// Text gives the request as it goes through a proxy in the clear, with the
// lease's id where it names one.
func (r *Request) Text(lease string) string {
	method, url, _ := strings.Cut(r.Line, " ")
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	scheme := "SharedKey"
	if r.Lite {
		scheme = "SharedKeyLite"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nx-ms-date: Tue, 04 Oct 2011 08:15:30 GMT\r\n", method, url, host)
	if r.Version != "" {
		fmt.Fprintf(&b, "x-ms-version: %s\r\n", r.Version)
	}
	fmt.Fprintf(&b, "Authorization: %s acct:bm8gc2lnbmF0dXJlIG9mIGEga2V5IHRoYXQgZXhpc3Q=\r\n", scheme)
	for _, field := range r.Header {
		fmt.Fprintf(&b, "%s\r\n", strings.ReplaceAll(field, Lease, lease))
	}
	if r.Body != "" || method == "PUT" || method == "POST" || method == "MERGE" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(r.Body))
	}
	return b.String() + "\r\n" + r.Body
}

// Outcome tells people what the client gets.
func (r *Request) Outcome() string {
	switch {
	case r.Code != "":
		return "refused by bearerd: `" + r.Code + "`"
	case r.Refuses != "":
		return "the service refuses it: " + r.Refuses
	case r.Differs != "":
		return "works, but differs: " + r.Differs
	}
	return "works"
}

// Reference writes the published table.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(referenceHead)
	section := ""
	for _, r := range Requests() {
		_, url, _ := strings.Cut(r.Line, " ")
		api := strings.Split(strings.TrimPrefix(url, "http://acct."), ".")[0]
		if api != section {
			section = api
			fmt.Fprintf(&b, "\n### %s\n\n| client says | sent upstream | the call | outcome | Azurite |\n| --- | --- | --- | --- | --- |\n", strings.ToUpper(api[:1])+api[1:])
		}
		upstream := r.Upstream
		switch {
		case r.Code != "":
			upstream = "-"
		case r.Upstream == r.Version:
			upstream = "the same"
		}
		if r.Adds != "" {
			upstream += ", `" + r.Adds + "`"
		}
		azurite := "-"
		if r.Azurite != 0 {
			azurite = fmt.Sprint(r.Azurite)
		}
		if r.Note != "" {
			azurite += "; " + r.Note
		}
		said := r.Version
		if said == "" {
			said = "nothing"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", said, upstream, r.Does, r.Outcome(), azurite)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
