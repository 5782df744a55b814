package azure

import (
	"fmt"
	"testing"
)

func TestFields(t *testing.T) {
	cloud := mustCloud(t, "public")
	for _, test := range []struct {
		host, target string // target: path?query
		version      string // sent; empty: none
		want         string // set; empty: not touched
	}{
		{"acct.blob.core.windows.net", "/c/b", "", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "2009-09-19", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "2017-11-08", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "2017-11-09", ""},
		{"acct.blob.core.windows.net", "/c/b", "2026-02-06", ""},
		{"acct.blob.core.windows.net", "/c/b", "latest", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "2020-13-01", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "2020-12-32", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "2020/12/06", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "9999-99-99x", "2017-11-09"},
		{"acct.blob.core.windows.net", "/c/b", "２020-12-06", "2017-11-09"},
		{"acct-secondary.blob.core.windows.net", "/c/b", "", "2017-11-09"},
		{"acct.privatelink.blob.core.windows.net", "/c/b", "", "2017-11-09"},
		{"acct.z01.blob.storage.azure.net", "/c/b", "", "2017-11-09"},
		{"acct.dfs.core.windows.net", "/fs/p", "", "2017-11-09"},
		{"acct.queue.core.windows.net", "/q/messages", "", "2017-11-09"},
		{"acct.table.core.windows.net", "/Tables", "2019-02-02", "2020-12-06"},
		{"acct.table.core.windows.net", "/Tables", "2020-12-06", ""},
		{"acct.z01.table.storage.azure.net", "/Tables", "", "2020-12-06"},
		{"files.contoso.example", "/c/b", "", "2017-11-09"}, // a custom domain
	} {
		checkFields(t, cloud, test.host, test.target, test.version, test.want, false)
	}
	for _, test := range []struct{ target, version, want string }{
		{"/share/file", "", "2022-11-02"},
		{"/share/dir/file", "2021-01-01", "2022-11-02"},
		{"/share/dir/file", "2022-11-02", ""},
		{"/share/dir?restype=directory", "", "2022-11-02"},
		{"/share?restype=directory&comp=list", "", "2022-11-02"},
		{"/share?RESTYPE=Directory", "", "2022-11-02"},
		{"/share?restype=share", "2022-11-02", "2024-11-04"},
		{"/share?restype=share&comp=properties", "", "2024-11-04"},
		{"/share/", "", "2024-11-04"},
		{"/?comp=list", "", "2024-11-04"},
		{"/?restype=service&comp=properties", "2024-11-04", ""},
		{"/share/x?restype=service", "", "2024-11-04"},
	} {
		for _, host := range []string{"acct.file.core.windows.net", "acct.z01.file.storage.azure.net"} {
			checkFields(t, cloud, host, test.target, test.version, test.want, true)
		}
	}
}

func checkFields(t *testing.T, cloud *Cloud, host, target, version, want string, intent bool) {
	t.Helper()
	s, _ := cloud.Service("storage")
	c := callTo("GET", host, target)
	h := Header{"X-Ms-Date": {"Mon, 01 Jan 2001 00:00:00 GMT"}}
	if version != "" {
		h["X-Ms-Version"] = []string{version}
	}
	c.Header = h
	var fields []Field
	if want != "" {
		fields = append(fields, Field{"X-Ms-Version", want})
	}
	if intent {
		fields = append(fields, Field{"X-Ms-File-Request-Intent", "backup"})
	}
	if got := s.Fields(c); fmt.Sprint(got) != fmt.Sprint(fields) {
		t.Errorf("https://%s%s, version %q: %v, want %v", host, target, version, got, fields)
	}
}

func TestFieldsOfRepeatedHeaders(t *testing.T) {
	s, _ := mustCloud(t, "public").Service("storage")
	c := callTo("GET", "acct.file.core.windows.net", "/share/file")
	c.Header = Header{"X-Ms-Version": {"2026-02-06", "2009-09-19"}, "X-Ms-File-Request-Intent": {"restore"}}
	if got := fmt.Sprint(s.Fields(c)); got != "[{X-Ms-Version 2022-11-02} {X-Ms-File-Request-Intent backup}]" {
		t.Error(got)
	}
}

func TestFieldsLeaveACompleteCallAlone(t *testing.T) {
	cloud := mustCloud(t, "public")
	storage, _ := cloud.Service("storage")
	vault, _ := cloud.Service("keyvault")
	c := callTo("GET", "acct.file.core.windows.net", "/share/file")
	c.Header = Header{"X-Ms-Version": {"2026-02-06"}, "X-Ms-File-Request-Intent": {"backup"}}
	if n := testing.AllocsPerRun(100, func() {
		if storage.Fields(c) != nil || vault.Fields(&Call{}) != nil {
			t.Error("there is something to set")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
