package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.uber.org/zap/zapcore"
)

// Journal takes a line of the log with its fields, whose names are capitals,
// digits and underscores, and a priority of syslog's.
type Journal func(line string, priority int, fields map[string]string) error

// journalCore writes to the journal: the line as elsewhere for those who read
// it, and its fields beside it for those who search.
type journalCore struct {
	zapcore.LevelEnabler
	encoder  zapcore.Encoder
	context  []zapcore.Field
	send     Journal
	fallback zapcore.Core // where the journal takes nothing
}

// With implements zapcore.Core.
func (c *journalCore) With(fields []zapcore.Field) zapcore.Core {
	next := *c
	next.encoder = c.encoder.Clone()
	for _, f := range fields {
		f.AddTo(next.encoder)
	}
	next.context = append(c.context[:len(c.context):len(c.context)], fields...)
	next.fallback = c.fallback.With(fields)
	return &next
}

// Check implements zapcore.Core.
func (c *journalCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write implements zapcore.Core.
func (c *journalCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	line, err := c.encoder.EncodeEntry(e, fields)
	if err != nil {
		return err
	}
	defer line.Free()
	if c.send(string(bytes.TrimSuffix(line.Bytes(), []byte("\n"))), priority(e.Level), c.fields(e, fields)) != nil {
		return c.fallback.Write(e, fields)
	}
	return nil
}

// Sync implements zapcore.Core.
func (c *journalCore) Sync() error { return nil }

func (c *journalCore) fields(e zapcore.Entry, fields []zapcore.Field) map[string]string {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range c.context {
		f.AddTo(values)
	}
	for _, f := range fields {
		f.AddTo(values)
	}
	all := make(map[string]string, len(values.Fields)+2)
	for name, value := range values.Fields {
		all[journalName(name)] = journalValue(value)
	}
	all["SYSLOG_IDENTIFIER"], all["BEARERD_MSG"] = "bearerd", e.Message
	return all
}

// journalName gives the field's name in the journal: route is BEARERD_ROUTE.
func journalName(name string) string {
	return "BEARERD_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}, name)
}

func journalValue(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []any, map[string]any:
		if text, err := json.Marshal(v); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(value)
}

// priority gives syslog's of a level.
func priority(l zapcore.Level) int {
	switch {
	case l <= zapcore.DebugLevel:
		return 7
	case l == zapcore.InfoLevel:
		return 6
	case l == zapcore.WarnLevel:
		return 4
	case l == zapcore.ErrorLevel:
		return 3
	default:
		return 2
	}
}
