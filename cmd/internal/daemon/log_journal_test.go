package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestJournalHasTheLineAndItsFields(t *testing.T) {
	type entry struct {
		line     string
		priority int
		fields   map[string]string
	}
	var sent []entry
	var fails error
	var out bytes.Buffer
	level, log := newLogger(Default().Log, &out, func(line string, priority int, fields map[string]string) error {
		sent = append(sent, entry{line, priority, fields})
		return fails
	}, func() {})
	log.With(zap.String("route", "vault")).Warn("no token", zap.Int("status", 503), zap.Strings("why", []string{"a\nb", "c"}), zap.Error(errors.New("two\nlines")))
	if len(sent) != 1 || out.Len() > 0 {
		t.Fatalf("sent %+v, and written %q", sent, &out)
	}
	got := sent[0]
	want := map[string]string{"BEARERD_ROUTE": "vault", "BEARERD_STATUS": "503", "BEARERD_WHY": `["a\nb","c"]`, "BEARERD_ERROR": "two\nlines", "BEARERD_MSG": "no token", "SYSLOG_IDENTIFIER": "bearerd"}
	for name, value := range want {
		if got.fields[name] != value {
			t.Errorf("%s is %q, want %q", name, got.fields[name], value)
		}
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(got.line), &line); err != nil || line["route"] != "vault" || line["msg"] != "no token" || len(got.fields) != len(want) || got.priority != 4 {
		t.Errorf("the line is %s, %v, with %q and priority %d", got.line, err, got.fields, got.priority)
	}
	// Without a journal nothing is lost.
	fails = errors.New("journald is away")
	log.With(zap.String("route", "vault")).Info("later")
	if !strings.Contains(out.String(), `"route":"vault"`) || !strings.Contains(out.String(), `"msg":"later"`) {
		t.Errorf("written is %q", &out)
	}
	level.SetLevel(zapcore.ErrorLevel)
	log.Info("unwanted")
	if len(sent) != 2 {
		t.Error("the level does not hold")
	}
}
