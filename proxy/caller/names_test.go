package caller

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
)

func TestNamesMatch(t *testing.T) {
	user := func(id uint32) Names { return Names{Users: []Account{{ID: id}}} }
	group := func(id uint32) Names { return Names{Groups: []Account{{ID: id}}} }
	cgroup := func(path string) Names { return Names{Cgroups: []string{path}} }
	certificate := func(name string) Names { return Names{Certificates: []string{name}} }
	one := &Caller{Known: true, UID: 7, Groups: []uint32{8, 9}, Cgroup: "/a/b"}
	guest := &Caller{Unknown: "why", UID: 7, Groups: []uint32{8}, Cgroup: "/a/b", Certificates: []string{"app.example"}}
	for _, test := range []struct {
		what  string
		names Names
		who   *Caller
		want  bool
	}{
		{"its user", user(7), one, true},
		{"another user", user(8), one, false},
		{"a group", group(9), one, true},
		{"a group with the user's number", group(7), one, false},
		{"its cgroup", cgroup("/a/b"), one, true},
		{"one above", cgroup("/a"), one, true},
		{"one below", cgroup("/a/b/c"), one, false},
		{"one that begins alike", cgroup("/a/bb"), one, false},
		{"one of its path's text", cgroup("/a/"), one, false},
		{"any list", Names{Users: []Account{{ID: 1}}, Groups: []Account{{ID: 8}}}, one, true},
		{"nobody", Names{}, one, false},
		{"the user of an unknown caller", user(7), guest, false},
		{"its group", group(8), guest, false},
		{"its cgroup", cgroup("/a"), guest, false},
		{"its certificate", certificate("app.example"), guest, true},
		{"another certificate", certificate("example"), guest, false},
		{"root, of one that nobody looked for", user(0), nil, false},
		{"root, of the zero value", user(0), &Caller{}, false},
		{"root's group, of the zero value", group(0), &Caller{}, false},
	} {
		if got := test.names.Match(test.who); got != test.want {
			t.Errorf("%s: %v", test.what, got)
		}
	}
}

func TestNamesCover(t *testing.T) {
	a := &Names{Users: []Account{{ID: 1}, {ID: 2}}, Cgroups: []string{"/a"}, Certificates: []string{"x"}}
	for _, test := range []struct {
		first, second *Names
		want          bool
	}{
		{&Names{}, a, true},
		{&Names{}, &Names{}, true},
		{a, &Names{}, false},
		{a, a, true},
		{a, &Names{Users: []Account{{ID: 2}}, Cgroups: []string{"/a/b"}}, true},
		{a, &Names{Users: []Account{{ID: 3}}}, false},
		{a, &Names{Groups: []Account{{ID: 1}}}, false},
		{a, &Names{Cgroups: []string{"/ab"}}, false},
		{a, &Names{Certificates: []string{"y"}}, false},
	} {
		if got := test.first.Covers(test.second); got != test.want {
			t.Errorf("%v covers %v: %v", test.first, test.second, got)
		}
	}
}

func TestNamesOfACertificate(t *testing.T) {
	spiffe := &url.URL{Scheme: "spiffe", Host: "example", Path: "/payroll"}
	full := &x509.Certificate{DNSNames: []string{"App.Example"}, URIs: []*url.URL{spiffe}, EmailAddresses: []string{"a@example.com"}, Subject: pkix.Name{CommonName: "admin"}}
	for _, test := range []struct {
		name string
		leaf *x509.Certificate
		want bool
	}{
		{"app.example", full, true},
		{"spiffe://example/payroll", full, true},
		{"a@example.com", full, true},
		{"admin", full, false}, // an authority vouches for the other names
		{"admin", &x509.Certificate{Subject: pkix.Name{CommonName: "admin"}}, true},
	} {
		name, err := ParseCertificate(test.name)
		if err != nil {
			t.Fatal(err)
		}
		var c *Caller
		if got := (&Names{Certificates: []string{name}}).Match(c.WithCertificate(test.leaf)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// Users name their own cgroups; a log's reader must not take one for a field.
func TestStringCannotBeForged(t *testing.T) {
	for _, test := range []struct {
		who  *Caller
		want string
	}{
		{nil, "unknown (nobody looked)"},
		{&Caller{}, "unknown (nobody looked)"},
		{&Caller{Unknown: "why"}, "unknown (why)"},
		{&Caller{Known: true, UID: 7, PID: 9, Cgroup: "/x user=root(0)\n"}, `user=7 cgroup="/x user=root(0)\n" pid=9`},
		{&Caller{Unknown: "why", Certificates: []string{"a b"}}, `unknown (why) certificate="a b"`},
	} {
		if got := test.who.String(); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	names := &Names{Users: []Account{{ID: 1}}, Groups: []Account{{ID: 2}}, Cgroups: []string{"/a"}}
	f := New()
	who := &Caller{Known: true, UID: 1 << 30, CgroupID: 1 << 60, finder: f} // of whom the database says nothing
	names.Match(who)
	if n := testing.AllocsPerRun(100, func() { names.Match(who) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
