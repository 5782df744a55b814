package daemon

import (
	"testing"
	"time"
)

func TestAddressesThatCollide(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"[::]:80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "[::]:80", true},
		{"0.0.0.0:80", "[::1]:80", false},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/./a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", "127.0.0.1:80", false},
	} {
		a, errA := parseAddress(test.a)
		b, errB := parseAddress(test.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.collides(b) != test.want || b.collides(a) != test.want {
			t.Errorf("%s and %s: want %t", test.a, test.b, test.want)
		}
	}
}

func TestAddressIsWhatListenTakes(t *testing.T) {
	for text, want := range map[string][2]string{"unix:/run/a.sock": {"unix", "/run/a.sock"}, "[::1]:8180": {"tcp", "[::1]:8180"}} {
		a, err := parseAddress(text)
		if err != nil {
			t.Fatal(err)
		}
		if network, address := a.Network(); network != want[0] || address != want[1] || a.String() != text {
			t.Errorf("%s: %s %s, %s", text, network, address, a)
		}
	}
}

func TestSizesAndDurationsAreShownAsTheyAreWritten(t *testing.T) {
	for text, bytes := range map[string]int64{"0": 0, "1": 1, "1023": 1023, "64KiB": 64 << 10, "16MiB": 16 << 20, "3GiB": 3 << 30} {
		if got, err := parseSize(text); err != nil || got != bytes || showSize(got) != text {
			t.Errorf("%s: %d, %v, %s", text, got, err, showSize(got))
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5MiB", "64KB", "64kib", "1e3", "0x10", "9223372036854775807KiB", "18446744073709551616"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	for _, text := range []string{"0s", "10s", "1m30s", "5m", "1h", "1h30m", "1h0m10s", "500ms"} {
		d, err := time.ParseDuration(text)
		if err != nil || showDuration(d) != text {
			t.Errorf("%s: %s, %v", text, showDuration(d), err)
		}
	}
}
