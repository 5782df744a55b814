package azuretest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
)

// batchedCall is one call of a batch.
type batchedCall struct {
	HTTPMethod string `json:"httpMethod"`
	Name       string `json:"name"`
	URL        string `json:"url"`
}

// serveBatch makes the calls of a batch, up to the 20 that are answered at once,
// each by the batch's authorisation. It knows calls without a body.
func (m *ResourceManager) serveBatch(r *http.Request) (int, any, error) {
	var batch struct {
		Requests []batchedCall `json:"requests"`
	}
	if err := json.NewDecoder(r.Body).Decode(&batch); err != nil || len(batch.Requests) == 0 || len(batch.Requests) > 20 {
		return 0, nil, &problem{http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid: it is no batch of 1 to 20 requests."}
	}
	var answers []any
	for _, call := range batch.Requests {
		u, err := url.Parse(call.URL)
		if err != nil || u.Host != "" && u.Host != r.Host {
			return 0, nil, &problem{http.StatusBadRequest, "InvalidRequestUri", "A URL of the batch is not of this host."}
		}
		inner := r.Clone(r.Context())
		inner.Method, inner.URL, inner.Body, inner.ContentLength = call.HTTPMethod, u, http.NoBody, 0
		rec := httptest.NewRecorder()
		m.ServeHTTP(rec, inner)
		content := json.RawMessage(rec.Body.Bytes())
		if !json.Valid(content) {
			content = json.RawMessage("null")
		}
		answers = append(answers, map[string]any{"name": call.Name, "httpStatusCode": rec.Code, "content": content})
	}
	return http.StatusOK, map[string]any{"responses": answers}, nil
}
