package redirect

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// Verify compares the kernel's rules with these, and gives what differs. Dead
// selectors are told by Dead.
func Verify(r *Rules) (problems []string, err error) {
	err = withKernel(func(conn *nftables.Conn) error {
		have, err := read(conn)
		if err != nil {
			return err
		}
		problems = r.compare(have)
		return nil
	})
	return problems, err
}

func (r *Rules) compare(have *inPlace) (problems []string) {
	if have.table == nil {
		return []string{"no rule is in place: they were never applied, or something else flushed the kernel's rules (nft flush ruleset)"}
	}
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if have.table.Flags != 0 {
		report("the table %s is switched off (dormant)", Table)
	}
	for _, s := range have.sets {
		report("the set %s is none of the configuration's", s.Name)
	}
	for _, c := range r.chains {
		i := slices.IndexFunc(have.chains, func(k *nftables.Chain) bool { return k.Name == c.name })
		switch {
		case i < 0:
			report("the chain %s is missing", c.name)
		case !c.is(have.chains[i]):
			report("the chain %s is not where it belongs, or has another policy", c.name)
		default:
			problems = append(problems, c.compare(have.rules[c.name])...)
		}
	}
	for _, k := range have.chains {
		if r.chain(k.Name) < 0 {
			report("the chain %s is none of the configuration's", k.Name)
		}
	}
	return problems
}

// compare finds the rules of a chain that differ, by what they are for.
func (c chain) compare(there []kernelRule) (problems []string) {
	same := len(there) == len(c.rules)
	for i, rule := range c.rules {
		code, _ := rule.code()
		if i < len(there) && there[i] == (kernelRule{code, rule.comment}) {
			continue
		}
		same = false
		if slices.Contains(there, kernelRule{code, rule.comment}) {
			continue // elsewhere
		}
		about := rule.comment
		if about == "" {
			about = fmt.Sprintf("%q", rule)
		}
		if rule.comment != "" && slices.ContainsFunc(there, func(f kernelRule) bool { return f.comment == rule.comment }) {
			problems = append(problems, fmt.Sprintf("chain %s: the rule for %s is an outdated one: it is not the one that it was when the rules were applied (a cgroup that was made anew, a user or group with another number), or the rule was changed", c.name, about))
		} else {
			problems = append(problems, fmt.Sprintf("chain %s: the rule for %s is missing", c.name, about))
		}
	}
	if !same && len(problems) == 0 {
		problems = append(problems, fmt.Sprintf("chain %s: it has rules that are none of the configuration's, or in another order", c.name))
	}
	return problems
}
