package azuretest

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
)

// pager cuts lists into pages as Key Vault and Resource Manager do: each page
// but the last one carries an absolute URL of the next, whose query holds more
// than the client sent.
type pager struct {
	r    *http.Request
	size int
	host string // of the next page; empty: this one's
}

type listPage[T any] struct {
	Value    []T     `json:"value"`
	NextLink *string `json:"nextLink"`
}

func page[T any](p pager, items []T) (int, any, error) {
	query := p.r.URL.Query()
	start := 0
	if token := query.Get("$skiptoken"); token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || n > len(items) {
			return 0, nil, badParameter("The $skiptoken is not one of this service's.")
		}
		start = n
	}
	size := p.size
	for _, name := range []string{"maxresults", "$top"} {
		if n, err := strconv.Atoi(query.Get(name)); err == nil && n > 0 {
			size = min(size, n)
		}
	}
	end := min(start+size, len(items))
	answer := listPage[T]{Value: items[start:end]}
	if end < len(items) {
		query.Set("$skiptoken", strconv.Itoa(end))
		next := url.URL{Scheme: "https", Host: cmp.Or(p.host, p.r.Host), Path: p.r.URL.Path, RawPath: p.r.URL.RawPath, RawQuery: query.Encode()}
		link := next.String()
		answer.NextLink = &link
	}
	return http.StatusOK, answer, nil
}
