package trace

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// client sends spans by OTLP over HTTP. OpenTelemetry's own one brings gRPC
// along, a tenth of bearerd's size.
type client struct {
	endpoint string
	headers  http.Header // which may hold a credential: never shown
	http     *http.Client
	failing  atomic.Bool
	log      *zap.Logger
}

// clientFromEnvironment gives nil where no variable asks for spans.
func clientFromEnvironment(log *zap.Logger) (*client, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	endpoint, err := endpointOf()
	if endpoint == "" || err != nil {
		return nil, err
	}
	if protocol, name := setting("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return nil, fmt.Errorf("%s is %q; bearerd speaks http/protobuf, which collectors take at port 4318: set that, or OTEL_TRACES_EXPORTER=none", name, protocol)
	}
	for _, suffix := range []string{"CLIENT_KEY", "CLIENT_CERTIFICATE"} {
		if value, name := setting(suffix); value != "" {
			return nil, fmt.Errorf("%s is set, and bearerd shows collectors no certificate; use OTEL_EXPORTER_OTLP_HEADERS, or remove it", name)
		}
	}
	c := &client{endpoint: endpoint, headers: http.Header{"Content-Type": {"application/x-protobuf"}, "User-Agent": {"bearerd"}}, log: log}
	if err := c.addHeaders(); err != nil {
		return nil, err
	}
	timeout := 10 * time.Second
	if value, name := setting("TIMEOUT"); value != "" {
		ms, err := strconv.Atoi(value)
		if err != nil || ms <= 0 {
			return nil, fmt.Errorf("%s is %q; write milliseconds", name, value)
		}
		timeout = time.Duration(ms) * time.Millisecond
	}
	roots, err := rootsOf()
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{
		Timeout: timeout,
		// The environment's proxy may be us.
		Transport: &http.Transport{Proxy: nil, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second},
		// A redirect would take the headers along.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// setting reads a variable of OTLP's, the traces' own one first.
func setting(suffix string) (value, name string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + suffix, "OTEL_EXPORTER_OTLP_" + suffix} {
		if value := os.Getenv(name); value != "" {
			return value, name
		}
	}
	return "", ""
}

func endpointOf() (string, error) {
	value, name := setting("ENDPOINT")
	if value == "" {
		return "", nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%s is no URL of a collector; write one such as http://127.0.0.1:4318", name)
	}
	if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		u = u.JoinPath("v1/traces")
	}
	return u.String(), nil
}

// addHeaders reads name=value,name=value, percent-encoded.
func (c *client) addHeaders() error {
	value, name := setting("HEADERS")
	for pair := range strings.SplitSeq(value, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		field, text, ok := strings.Cut(pair, "=")
		field, errField := url.PathUnescape(strings.TrimSpace(field))
		text, errText := url.PathUnescape(strings.TrimSpace(text))
		if !ok || field == "" || errField != nil || errText != nil {
			return fmt.Errorf("%s is not name=value,name=value with values percent-encoded; correct it", name)
		}
		c.headers.Add(field, text)
	}
	return nil
}

func rootsOf() (*x509.CertPool, error) {
	path, name := setting("CERTIFICATE")
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name a file in PEM", name, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s holds no certificate in PEM; name another file", name, path)
	}
	return roots, nil
}

// Start implements otlptrace.Client.
func (c *client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. Spans that cannot be sent are lost;
// it gives no error, for OpenTelemetry would print that, again and again.
func (c *client) UploadTraces(ctx context.Context, spans []*otlp.ResourceSpans) error {
	err := c.post(ctx, spans)
	switch failed := err != nil; {
	case failed && c.failing.CompareAndSwap(false, true):
		c.log.Warn("spans cannot be sent, and are lost; check OTEL_EXPORTER_OTLP_ENDPOINT and the collector", zap.Error(err))
	case !failed && c.failing.CompareAndSwap(true, false):
		c.log.Info("spans are sent again")
	}
	return nil
}

func (c *client) post(ctx context.Context, spans []*otlp.ResourceSpans) error {
	// The message of the collector's service, by another name for the same bytes.
	body, err := proto.Marshal(&otlp.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = c.headers.Clone()
	answer, err := c.http.Do(r)
	if err != nil {
		var whole *url.Error
		if errors.As(err, &whole) {
			err = whole.Err // the URL may hold a key
		}
		return err
	}
	defer answer.Body.Close()
	// Read, so that the connection is used again.
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %s", answer.Status)
	}
	return nil
}
