package daemon

import (
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

const (
	// logBurst is how many lines of one message are written in a second before
	// only each logThin-th is: a caller in a loop must not fill the disk. journald
	// by itself drops what a service writes beyond 10,000 lines in 30 s.
	logBurst = 300
	logThin  = 100
)

// newLogger makes the daemon's log, which goes to the journal, or to out where
// that is nil. Its level can be changed later. dropped is
// told of each line that was left out of a flood.
func newLogger(l Log, out io.Writer, journal Journal, dropped func()) (zap.AtomicLevel, *zap.Logger) {
	level := zap.NewAtomicLevelAt(l.Level)
	encoding := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", NameKey: "logger", MessageKey: "msg",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder, EncodeName: zapcore.FullNameEncoder,
	}
	encoder := zapcore.NewJSONEncoder(encoding)
	if l.Format == LogConsole || l.Format == LogAuto && isTerminal(out) {
		encoding.EncodeTime = zapcore.ISO8601TimeEncoder
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level)
	if journal != nil {
		core = &journalCore{LevelEnabler: level, encoder: encoder, send: journal, fallback: core}
	}
	return level, zap.New(zapcore.NewSamplerWithOptions(core, time.Second, logBurst, logThin, zapcore.SamplerHook(func(_ zapcore.Entry, d zapcore.SamplingDecision) {
		if d&zapcore.LogDropped != 0 {
			dropped()
		}
	})))
}

// isTerminal reports whether people read along.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// proxySettings is what of a configuration a reload may change in the proxy.
func proxySettings(c *Config, table *route.Table, logins *entra.Logins) proxy.Settings {
	return proxy.Settings{Routes: table, Logins: logins, RefuseUnmatched: c.RefuseUnmatched, Names: c.Names, AccessLog: c.Log.Access}
}
