package daemon

import (
	"io"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/bearerd/bearerd/proxy"
	"github.com/bearerd/bearerd/proxy/entra"
	"github.com/bearerd/bearerd/proxy/route"
)

// newLogger makes the daemon's log. Its level can be changed later.
func newLogger(l Log, out io.Writer) (zap.AtomicLevel, *zap.Logger) {
	level := zap.NewAtomicLevelAt(l.Level)
	encoding := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", NameKey: "logger", MessageKey: "msg",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder, EncodeName: zapcore.FullNameEncoder,
	}
	encoder := zapcore.NewJSONEncoder(encoding)
	if l.Format == LogConsole {
		encoding.EncodeTime = zapcore.ISO8601TimeEncoder
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return level, zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), level))
}

// proxySettings is what of a configuration a reload may change in the proxy.
func proxySettings(c *Config, table *route.Table, logins *entra.Logins) proxy.Settings {
	return proxy.Settings{Routes: table, Logins: logins, RefuseUnmatched: c.RefuseUnmatched, Names: c.Names, AccessLog: c.Log.Access}
}
