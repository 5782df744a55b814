package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/bearerd/bearerd/proxy/caller"
)

// scalar is a value that one word of the file gives.
type scalar[T any] struct {
	at    *T
	what  string // for the reference
	parse func(n *yaml.Node) (T, error)
	show  func(T) string
}

func (v scalar[T]) kind() string { return v.what }

func (v scalar[T]) current() string { return v.show(*v.at) }

func (v scalar[T]) decode(s *source, path string, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		s.fail(path, "this is %s, and a single value is wanted (%s); write it behind the colon", typeOf(n), v.what)
		return
	}
	got, err := v.parse(n)
	if err != nil {
		s.fail(path, "%w", err)
		return
	}
	*v.at = got
}

// text is taken as it stands.
func text(at *string, what string) value {
	return parsed(at, what, func(text string) (string, error) { return text, nil })
}

// parsed is text with a meaning.
func parsed[T any](at *T, what string, parse func(string) (T, error)) value {
	return scalar[T]{at, what, func(n *yaml.Node) (T, error) {
		if n.Tag != "!!str" {
			var none T
			return none, fmt.Errorf("this is %s, and text is wanted; put it in quotes", typeOf(n))
		}
		if strings.ContainsFunc(n.Value, unicode.IsControl) {
			var none T
			return none, fmt.Errorf("%q holds a control character; remove it, and use single quotes where a backslash is meant", n.Value)
		}
		return parse(n.Value)
	}, func(v T) string { return quote(fmt.Sprint(v)) }}
}

// account takes the name or the number of a user or a group.
func account(at *caller.Account, parse func(string) (caller.Account, error)) value {
	return scalar[caller.Account]{at, "name or number", func(n *yaml.Node) (caller.Account, error) {
		if n.Tag != "!!str" && n.Tag != "!!int" {
			return caller.Account{}, fmt.Errorf("this is %s, and a name or a whole number is wanted; put a name in quotes", typeOf(n))
		}
		return parse(n.Value)
	}, func(a caller.Account) string { return quote(a.Name) }}
}

// quote writes text as a file would.
func quote(text string) string {
	if text == "" {
		return `""`
	}
	return text
}

// word is one of a few words, and the value that each stands for.
type word[T any] struct {
	text  string
	value T
}

// oneOf takes one of a few words; the first is shown first.
func oneOf[T comparable](at *T, words ...word[T]) value {
	var names []string
	for _, w := range words {
		names = append(names, w.text)
	}
	return scalar[T]{at, orList(names), func(n *yaml.Node) (T, error) {
		for _, w := range words {
			if w.text == n.Value {
				return w.value, nil
			}
		}
		var none T
		return none, fmt.Errorf("%q is not known; use %s", n.Value, orList(names))
	}, func(v T) string {
		i := slices.IndexFunc(words, func(w word[T]) bool { return w.value == v })
		return words[max(i, 0)].text
	}}
}

func orList(names []string) string {
	if len(names) == 1 {
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func boolean(at *bool) value {
	return scalar[bool]{at, "true or false", func(n *yaml.Node) (bool, error) {
		if n.Tag != "!!bool" {
			return false, fmt.Errorf("%q is neither true nor false; write one of them", n.Value)
		}
		return strings.EqualFold(n.Value, "true"), nil
	}, strconv.FormatBool}
}

// within holds a number to its range. why may say where the range comes from.
func within[T cmp.Ordered](v, low, high T, show func(T) string, why string) (T, error) {
	if v < low || v > high {
		if why != "" {
			why = ", " + why
		}
		return v, fmt.Errorf("%s is out of range%s; write a value from %s to %s", show(v), why, show(low), show(high))
	}
	return v, nil
}

func number(at *int, low, high int, why string) value {
	return scalar[int]{at, fmt.Sprintf("number, %d to %d", low, high), func(n *yaml.Node) (int, error) {
		v, err := strconv.Atoi(n.Value)
		if err != nil || strconv.Itoa(v) != n.Value || n.Tag != "!!int" { // 010 is 8 to some
			return 0, fmt.Errorf("%q is no whole number; write it like %d", n.Value, *at)
		}
		return within(v, low, high, strconv.Itoa, why)
	}, strconv.Itoa}
}

// rate takes a number of events a second, more than none.
func rate(at *float64, high float64, why string) value {
	show := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	return scalar[float64]{at, "number a second, over 0 to " + show(high), func(n *yaml.Node) (float64, error) {
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || n.Tag != "!!int" && n.Tag != "!!float" || math.IsNaN(v) {
			return 0, fmt.Errorf("%q is no number; write it like %s", n.Value, show(*at))
		}
		if v <= 0 || v > high {
			return 0, fmt.Errorf("%s is out of range, %s; write a value over 0, up to %s", show(v), why, show(high))
		}
		return v, nil
	}, show}
}

func duration(at *time.Duration, low, high time.Duration) value {
	what := fmt.Sprintf("duration, %s to %s", showDuration(low), showDuration(high))
	return scalar[time.Duration]{at, what, func(n *yaml.Node) (time.Duration, error) {
		v, err := time.ParseDuration(n.Value)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration; write it with a unit, like 10s, 500ms or 1m30s", n.Value)
		}
		return within(v, low, high, showDuration, "")
	}, showDuration}
}

// showDuration leaves out the zeros that Duration's String ends with.
func showDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// size takes a number of bytes.
func size[T int | int64](at *T, low, high T) value {
	what := fmt.Sprintf("size, %s to %s", showSize(low), showSize(high))
	return scalar[T]{at, what, func(n *yaml.Node) (T, error) {
		v, err := parseSize(n.Value)
		if err != nil {
			return 0, err
		}
		if v > math.MaxInt32 && int64(T(v)) != v { // a 32-bit machine's int
			v = math.MaxInt32
		}
		return within(T(v), low, high, showSize[T], "")
	}, showSize[T]}
}

// units of sizes, the largest first.
var units = [...]struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1)
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			digits, unit = strings.TrimRight(rest, " "), u.bytes
			break
		}
	}
	v, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || int64(v) > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is no size; write bytes, or a whole number with a unit, like 64KiB, 16MiB or 1GiB", text)
	}
	return int64(v) * unit, nil
}

func showSize[T int | int64](bytes T) string {
	for _, u := range units {
		if bytes != 0 && int64(bytes)%u.bytes == 0 && u.bytes > 1 {
			return fmt.Sprintf("%d%s", int64(bytes)/u.bytes, u.name)
		}
	}
	return fmt.Sprint(bytes)
}

// items is a list of values of one type.
type items[T any] struct {
	at      *[]T
	element func(*T) value
}

// list takes each element as element says.
func list[T any](at *[]T, element func(*T) value) value { return items[T]{at, element} }

// texts is a list of texts.
func texts(at *[]string, what string) value {
	return list(at, func(s *string) value { return text(s, what) })
}

func (v items[T]) kind() string {
	return "list of: " + v.sample().kind()
}

// sample gives an element for the reference.
func (v items[T]) sample() value { return v.element(new(T)) }

// elements gives the value of each.
func (v items[T]) elements() []value {
	all := make([]value, len(*v.at))
	for i := range *v.at {
		all[i] = v.element(&(*v.at)[i])
	}
	return all
}

func (v items[T]) current() string {
	var parts []string
	for i := range *v.at {
		parts = append(parts, v.element(&(*v.at)[i]).current())
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (v items[T]) decode(s *source, path string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		s.fail(path, "this is %s, and a list is wanted; write it in brackets, or each element behind a dash", typeOf(n))
		return
	}
	got := make([]T, len(n.Content))
	for i, child := range n.Content {
		take(s, fmt.Sprintf("%s[%d]", path, i), child, v.element(&got[i]))
	}
	*v.at = got
}

// table is a mapping whose keys are the operator's.
type table[V any] struct {
	at      *map[string]V
	name    func(string) (string, error) // checks a key, and may write it otherwise
	what    string                       // the key, for the reference
	element func(*V) value
}

func (v table[V]) kind() string { return "mapping from " + v.what + " to: " + v.element(new(V)).kind() }

func (v table[V]) current() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(*v.at)) {
		element := (*v.at)[name]
		parts = append(parts, name+": "+v.element(&element).current())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func (v table[V]) decode(s *source, path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		wants(s, path, n, "a mapping", "{name: value}")
		return
	}
	got := make(map[string]V, len(n.Content)/2)
	pairs(s, path, n, func(text string, keyNode, valueNode *yaml.Node) {
		at := join(path, text)
		name, err := v.name(text)
		if err != nil {
			s.failAt(placeOf(keyNode), at, "%w", err)
			return
		}
		if _, ok := got[name]; ok {
			s.failAt(placeOf(keyNode), at, "%s is there already, spelled otherwise; remove one of them", name)
			return
		}
		var element V
		take(s, at, valueNode, v.element(&element))
		got[name] = element
	})
	*v.at = got
}

// given is a value of which it matters whether the file has it.
type given struct {
	value
	set *bool
}

func (v given) decode(s *source, path string, n *yaml.Node) {
	*v.set = true
	v.value.decode(s, path, n)
}

// later is a value that this version knows and cannot honour. Were it ignored,
// a restriction that somebody has written down would not hold.
type later struct {
	value
	problem string // "this version cannot ...", followed by what to do
}

func (v later) decode(s *source, path string, n *yaml.Node) {
	before := v.value.current()
	mistakes := len(s.mistakes)
	v.value.decode(s, path, n)
	if len(s.mistakes) == mistakes && v.value.current() != before {
		s.fail(path, "%w", errors.New(v.problem))
	}
}

// shown is a value whose default the reference gives in words.
type shown struct {
	value
	words string
}
