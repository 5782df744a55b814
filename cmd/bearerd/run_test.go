package main

import (
	"testing"
	"time"

	"github.com/bearerd/bearerd/cmd/internal/daemon"
)

func TestDrainFlagsTakeThePlaceOfTheFiles(t *testing.T) {
	c, err := daemon.Parse("bearerd.yaml", []byte("drain: {min: 2s, max: 20s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want daemon.Drain
	}{
		{nil, daemon.Drain{Min: 2 * time.Second, Max: 20 * time.Second}},
		{[]string{"--min-drain", "0s"}, daemon.Drain{Max: 20 * time.Second}},
		{[]string{"--min-drain=5s", "--max-drain=1m"}, daemon.Drain{Min: 5 * time.Second, Max: time.Minute}},
	} {
		cmd := runCommand()
		if err := cmd.ParseFlags(tt.args); err != nil {
			t.Fatal(err)
		}
		min, _ := cmd.Flags().GetDuration(minDrain)
		max, _ := cmd.Flags().GetDuration(maxDrain)
		got, err := (&drainFlags{min, max}).apply(cmd, c)
		if err != nil || got.Drain != tt.want {
			t.Errorf("%q: %+v and %v, want %+v", tt.args, got.Drain, err, tt.want)
		}
	}
	if c.Drain.Min != 2*time.Second {
		t.Error("the configuration itself was changed")
	}
}
