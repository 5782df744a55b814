package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bearerd/bearerd/proxy/redirect"
)

// redirect checks the kernel's rules, where the configuration asks for any.
func (e *examination) redirect(context.Context) []finding {
	settings := &e.config.Redirect
	if !settings.Asked() {
		return nil
	}
	rules, err := redirect.Resolve(settings.Options())
	if err != nil {
		return []finding{failed("redirect", "", err)}
	}
	var found []finding
	for _, d := range rules.Dead() {
		found = append(found, failed("redirect", "", d))
	}
	problems, err := redirect.Verify(rules)
	switch {
	case errors.Is(err, redirect.ErrPrivilege):
		return append(found, e.redirectReport(settings.ReportFile))
	case err != nil:
		return append(found, failed("redirect", "", err))
	}
	for _, p := range problems {
		found = append(found, rulesMissing(p))
	}
	if len(problems) == 0 {
		found = append(found, finding{Check: "redirect", Seen: "the rules are in place"})
	}
	return found
}

func rulesMissing(problem string) finding {
	return finding{Check: "redirect", Level: levelFail, Seen: problem, Do: "as root:", Command: "bearerd redirect apply"}
}

// staleReport is how old the last look at the rules may be.
const staleReport = 15 * time.Minute

// redirectReport goes by what the last look found, where doctor may not look.
func (e *examination) redirectReport(file string) finding {
	report, err := redirect.ReadReport(file)
	switch age := e.now().Sub(report.Checked); {
	case err != nil:
		return failed("redirect", "", err)
	case report.Checked.IsZero():
		return rulesMissing("the rules were never applied")
	case !report.InPlace:
		return rulesMissing(firstOf(report.Problems))
	case age > staleReport:
		return finding{Check: "redirect", Level: levelWarn, Seen: fmt.Sprintf("the rules were in place %s ago, and nobody has looked since", age.Round(time.Minute)), Do: "as root, from a timer:", Command: "bearerd redirect verify"}
	default:
		return finding{Check: "redirect", Seen: fmt.Sprintf("the rules were in place %s ago", age.Round(time.Second))}
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
