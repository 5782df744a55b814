// Package trace makes a span of each call to a routed host, and sends the spans
// by OTLP, where OpenTelemetry's own environment variables ask for it.
//
// It hides OpenTelemetry. Spans tell which route took a call, what it does and
// how it ended; paths, queries, callers and fields are not in them, for whoever
// collects traces is not the one who reads an audit stream.
package trace

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Options are what a Tracer is made of. The zero value is usable.
type Options struct {
	Version string      // of bearerd
	Logger  *zap.Logger // nil: no log
}

// Tracer makes spans. Open makes one, and Close ends it; it is safe for
// concurrent use. A nil Tracer makes nil spans, at no cost.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   api.Tracer
	client   *client
}

// Open makes the Tracer that the environment asks for, and nil where it asks for
// none: an endpoint has to be named
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter/). The sampler, the
// batches and the resource are as the variables of OpenTelemetry's SDK say.
func Open(ctx context.Context, o Options) (*Tracer, error) {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	c, err := clientFromEnvironment(o.Logger)
	if c == nil || err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("the spans' exporter: %w", err)
	}
	r, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "bearerd"), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w; correct it, or remove it", err)
	}
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(r))
	return &Tracer{provider: p, tracer: p.Tracer("github.com/bearerd/bearerd"), client: c}, nil
}

// Close sends the spans that there are, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is one call. A nil Span does nothing.
type Span struct {
	span api.Span
	ctx  context.Context
}

// Start begins the span of a call with the caller's header, whose trace it goes
// on with where it names one.
func (t *Tracer) Start(h http.Header, at time.Time) *Span {
	if t == nil {
		return nil
	}
	ctx := context.Background()
	if len(h["Traceparent"]) == 1 { // of two nobody knows which is meant
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
	}
	ctx, span := t.tracer.Start(ctx, "call", api.WithTimestamp(at), api.WithSpanKind(api.SpanKindClient))
	return &Span{span: span, ctx: ctx}
}

// Sampled gives the id of the span's trace; empty where the span is not kept.
func (s *Span) Sampled() string {
	if s == nil || !s.span.SpanContext().IsSampled() {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Header gives the fields by which the service goes on with the trace.
func (s *Span) Header() http.Header {
	h := make(http.Header, 2)
	propagation.TraceContext{}.Inject(s.ctx, propagation.HeaderCarrier(h))
	return h
}

// Outcome is how a call ended.
type Outcome struct {
	Method, Host     string
	Port             uint16
	Route, Action    string
	Operation        string // empty: not known
	Mints            bool
	Status           int
	Code             string // of an answer of bearerd's own
	Broken           bool
	RequestID        string
	ServiceRequestID string
	At               time.Time
}

// End ends the span.
func (s *Span) End(o *Outcome) {
	if s == nil {
		return
	}
	if s.span.IsRecording() {
		s.describe(o)
	}
	s.span.End(api.WithTimestamp(o.At))
}

// describe uses OpenTelemetry's names where it has some
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/).
func (s *Span) describe(o *Outcome) {
	name := o.Method
	if o.Operation != "" {
		name = o.Operation
	}
	s.span.SetName(name)
	attributes := []attribute.KeyValue{
		attribute.String("http.request.method", o.Method), attribute.Int("http.response.status_code", o.Status),
		attribute.String("server.address", o.Host), attribute.Int("server.port", int(o.Port)),
		attribute.String("bearerd.route", o.Route), attribute.String("bearerd.action", o.Action),
		attribute.String("bearerd.request_id", o.RequestID),
	}
	if o.Operation != "" {
		attributes = append(attributes, attribute.String("bearerd.operation", o.Operation))
	}
	if o.Mints {
		attributes = append(attributes, attribute.Bool("bearerd.mints", true))
	}
	if o.ServiceRequestID != "" {
		attributes = append(attributes, attribute.String("az.service_request_id", o.ServiceRequestID))
	}
	switch {
	case o.Code != "":
		attributes = append(attributes, attribute.String("error.type", o.Code))
		s.span.SetStatus(codes.Error, o.Code)
	case o.Broken:
		attributes = append(attributes, attribute.String("error.type", "broken"))
		s.span.SetStatus(codes.Error, "the answer was broken off")
	case o.Status >= http.StatusInternalServerError:
		attributes = append(attributes, attribute.String("error.type", fmt.Sprint(o.Status)))
		s.span.SetStatus(codes.Error, "")
	}
	s.span.SetAttributes(attributes...)
}
