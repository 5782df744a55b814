package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/bearerd/bearerd/proxy/redirect"
)

// redirect checks the kernel's rules, where the configuration asks for any.
func (e *examination) redirect() {
	settings := &e.config.Redirect
	if redirect.ProxyAgentRuns("/proc") {
		e.warn("IMDS: the Guest Proxy Agent runs, which takes connections to IMDS before the kernel's rules see them, where the Metadata Security Protocol is on; redirect.guard_imds does not hold there: name bearerd's user (%s) in the rules of the virtual machine's proxyAgentSettings, and set them to enforce", settings.DaemonUser)
	}
	if !settings.Asked() {
		return
	}
	rules, err := redirect.Resolve(settings.Options())
	if err != nil {
		e.fail("redirect: %v", err)
		return
	}
	for _, d := range rules.Dead() {
		e.fail("redirect: %v", d)
	}
	problems, err := redirect.Verify(rules)
	if errors.Is(err, redirect.ErrPrivilege) {
		e.redirectReport(settings.ReportFile)
		return
	}
	if err != nil {
		e.fail("redirect: %v", err)
		return
	}
	for _, p := range problems {
		e.fail("redirect: %s; run `bearerd redirect apply` as root", p)
	}
	if len(problems) == 0 {
		e.ok("redirect: the rules are in place")
	}
}

// staleReport is how old the last look at the rules may be.
const staleReport = 15 * time.Minute

// redirectReport goes by what the last look found, where doctor may not look.
func (e *examination) redirectReport(file string) {
	report, err := redirect.ReadReport(file)
	switch age := e.now().Sub(report.Checked); {
	case err != nil:
		e.fail("redirect: %v", err)
	case report.Checked.IsZero():
		e.fail("redirect: the rules were never applied; run `bearerd redirect apply` as root")
	case !report.InPlace:
		e.fail("redirect: %s; run `bearerd redirect apply` as root", firstOf(report.Problems))
	case age > staleReport:
		e.warn("redirect: the rules were in place %s ago, and nobody has looked since; run `bearerd redirect verify` as root, from a timer", age.Round(time.Minute))
	default:
		e.ok("redirect: the rules were in place %s ago", age.Round(time.Second))
	}
}

func firstOf(problems []string) string {
	if len(problems) == 0 {
		return "the rules were not in place"
	}
	if more := len(problems) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", problems[0], more)
	}
	return problems[0]
}
