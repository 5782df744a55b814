package metrics

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// namespace starts every name.
const namespace = "bearerd"

// Histograms are native ones too, for a Prometheus that asks for them: a bucket
// ends a fifth above its start, so that a millisecond to a minute takes 64. Half
// of that would make a scrape of 100 routes half as long again. What exceeds the
// bound halves the resolution, for an hour at least.
const (
	nativeFactor  = 1.2
	nativeBuckets = 80
	nativeReset   = time.Hour
)

// Kind is a metric's type.
type Kind string

// The kinds, as Prometheus names them.
const (
	KindCounter   Kind = "counter"
	KindGauge     Kind = "gauge"
	KindHistogram Kind = "histogram"
)

// Label is a label of a metric and what its values are, in Markdown.
type Label struct {
	Name   string
	Values string
}

// Description documents one metric.
type Description struct {
	Name    string
	Kind    Kind
	Help    string
	Labels  []Label
	Buckets []float64 // of a histogram
}

// Descriptions lists every metric of bearerd's own, as it is registered.
func Descriptions() []Description { return New("").described }

// builder registers metrics and keeps a description of each.
type builder struct {
	registry  *prometheus.Registry
	described []Description
}

func (b *builder) describe(kind Kind, name, help string, buckets []float64, labels []Label) (string, []string) {
	name = prometheus.BuildFQName(namespace, "", name)
	b.described = append(b.described, Description{Name: name, Kind: kind, Help: help, Labels: labels, Buckets: buckets})
	names := make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
	}
	return name, names
}

// register panics if two metrics have one name.
func register[C prometheus.Collector](b *builder, c C) C {
	b.registry.MustRegister(c)
	return c
}

func (b *builder) counters(name, help string, labels ...Label) *prometheus.CounterVec {
	name, names := b.describe(KindCounter, name, help, nil, labels)
	return register(b, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, names))
}

func (b *builder) counter(name, help string) prometheus.Counter {
	return b.counters(name, help).WithLabelValues()
}

func (b *builder) gauges(name, help string, labels ...Label) *prometheus.GaugeVec {
	name, names := b.describe(KindGauge, name, help, nil, labels)
	return register(b, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, names))
}

func (b *builder) gauge(name, help string) prometheus.Gauge {
	return b.gauges(name, help).WithLabelValues()
}

func (b *builder) histograms(name, help string, buckets []float64, labels ...Label) *prometheus.HistogramVec {
	name, names := b.describe(KindHistogram, name, help, buckets, labels)
	return register(b, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     nativeFactor,
		NativeHistogramMaxBucketNumber:  nativeBuckets,
		NativeHistogramMinResetDuration: nativeReset,
	}, names))
}

func (b *builder) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return b.histograms(name, help, buckets).WithLabelValues().(prometheus.Histogram)
}

func (b *builder) closed(name, help, label string, values []string) *closed {
	var list strings.Builder
	for _, v := range values {
		fmt.Fprintf(&list, "`%s`, ", v)
	}
	return newClosed(b.counters(name, help, Label{label, list.String() + "`" + other + "`"}), values)
}

func (b *builder) open(name, help string, most int, label Label) *open {
	return newOpen(b.counters(name, help, label), most)
}

// desc describes a metric that a collector makes.
func (b *builder) desc(kind Kind, name, help string, labels ...Label) *prometheus.Desc {
	name, names := b.describe(kind, name, help, nil, labels)
	return prometheus.NewDesc(name, help, names, nil)
}

// Reference writes the metrics' reference in Markdown.
func Reference(w io.Writer) error {
	all := Descriptions()
	slices.SortFunc(all, func(a, b Description) int { return strings.Compare(a.Name, b.Name) })
	var b bytes.Buffer
	b.WriteString(referenceHead)
	for _, d := range all {
		fmt.Fprintf(&b, "\n## `%s`\n\n%s. %s\n", d.Name, strings.ToUpper(string(d.Kind[:1]))+string(d.Kind[1:]), d.Help)
		if len(d.Buckets) > 0 {
			b.WriteString("\nBuckets:")
			for _, le := range d.Buckets {
				fmt.Fprintf(&b, " %g", le)
			}
			b.WriteString("\n")
		}
		if len(d.Labels) > 0 {
			b.WriteString("\n| label | values |\n| --- | --- |\n")
		}
		for _, l := range d.Labels {
			fmt.Fprintf(&b, "| `%s` | %s |\n", l.Name, l.Values)
		}
	}
	_, err := b.WriteTo(w)
	return err
}

const referenceHead = `# Metrics

The admin listener serves these at ` + "`/metrics`" + ` (by default http://127.0.0.1:9180/metrics), beside ` + "`go_*` and `process_*`" + `
of the Prometheus client library. Times are in seconds, sizes in bytes. No label's value comes from what a caller sends: the number of series is
bounded by the configuration. Histograms are native ones too, for a Prometheus that asks for those, and in OpenMetrics and protobuf
` + "`bearerd_request_duration_seconds`" + ` has exemplars: ` + "`trace_id`" + ` of a request that came with a sampled ` + "`traceparent`" + `, one for each bucket and second.

This page is generated from the code: ` + "`go test ./metrics -run TestReference -update`" + `.
`
