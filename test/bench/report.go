package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report holds every turn of every program.
type report struct {
	about []string // the machine, the versions, the commit
	names []string
	turns map[string][]measurement
}

func median[T cmp.Ordered](values []T) T {
	values = slices.Sorted(slices.Values(values))
	return values[len(values)/2]
}

func column[T any](turns []measurement, field func(measurement) T) (values []T) {
	for _, m := range turns {
		values = append(values, field(m))
	}
	return values
}

// ratio is the median over the rounds of a program's processor time for a
// request, as a multiple of the other's in the same round.
func (r *report) ratio(name, other string) float64 {
	values := make([]float64, 0, len(r.turns[name]))
	for i, m := range r.turns[name] {
		values = append(values, float64(m.perCall)/float64(r.turns[other][i].perCall))
	}
	return median(values)
}

func (r *report) write(out io.Writer) error {
	for _, line := range r.about {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "medians of %d rounds\n\n", len(r.turns[r.names[0]]))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "program\tprocessor time per request\tx %s\tx %s\tmedian latency\trequests/s\tresident\n", nginxName, reverseProxyName)
	for _, name := range r.names {
		turns := r.turns[name]
		perCall := median(column(turns, func(m measurement) time.Duration { return m.perCall }))
		latency := median(column(turns, func(m measurement) time.Duration { return m.median }))
		rate := median(column(turns, func(m measurement) float64 { return m.rate }))
		resident := median(column(turns, func(m measurement) int64 { return m.resident }))
		fmt.Fprintf(w, "%s\t%.1f µs\t%.2f\t%.2f\t%.2f ms\t%.0f\t%.1f MB\n", name, float64(perCall)/1e3,
			r.ratio(name, nginxName), r.ratio(name, reverseProxyName), float64(latency)/1e6, rate, float64(resident)/1e6)
	}
	return w.Flush()
}
