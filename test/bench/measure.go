package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// measurement is one turn of one program.
type measurement struct {
	requests int64
	perCall  time.Duration // processor time
	median   time.Duration // latency
	rate     float64       // requests a second
	resident int64
}

// measure puts wrk's load on a program, first unmeasured, and reads what it
// cost.
func measure(ctx context.Context, p plan, c *contender) (measurement, error) {
	if p.warmUp > 0 {
		if _, err := load(ctx, c.url, p.connections, p.warmUp); err != nil {
			return measurement{}, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	before, err := c.processorTime()
	if err != nil {
		return measurement{}, err
	}
	m, err := load(ctx, c.url, p.connections, p.duration)
	if err != nil {
		return measurement{}, fmt.Errorf("%s: %w", c.name, err)
	}
	after, err := c.processorTime()
	if err != nil {
		return measurement{}, err
	}
	m.perCall = (after - before) / time.Duration(m.requests)
	m.resident, err = c.resident()
	return m, err
}

// load runs wrk once. A refused or broken request makes the figures worthless
// and is an error.
func load(ctx context.Context, url string, connections int, d time.Duration) (measurement, error) {
	seconds := max(1, int(d.Seconds()))
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+20*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(seconds)+"s", "--latency", url).CombinedOutput()
	if err != nil {
		return measurement{}, fmt.Errorf("wrk: %w: %s", err, text)
	}
	return parseWrk(string(text))
}

func parseWrk(text string) (m measurement, err error) {
	for _, trouble := range []string{"Non-2xx", "Socket errors"} {
		if strings.Contains(text, trouble) {
			return m, fmt.Errorf("wrk saw failed requests:\n%s", text)
		}
	}
	find := func(pattern string) string {
		if err != nil {
			return ""
		}
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			err = fmt.Errorf("wrk's output has no %s:\n%s", pattern, text)
			return ""
		}
		return found[1]
	}
	median, requests, rate := find(`\s50%\s+(\S+)`), find(`(\d+) requests in`), find(`Requests/sec:\s+(\S+)`)
	if err != nil {
		return m, err
	}
	if m.median, err = time.ParseDuration(median); err != nil {
		return m, err
	}
	if m.rate, err = strconv.ParseFloat(rate, 64); err != nil {
		return m, err
	}
	if m.requests, err = strconv.ParseInt(requests, 10, 64); err == nil && m.requests == 0 {
		err = fmt.Errorf("wrk made no request:\n%s", text)
	}
	return m, err
}
