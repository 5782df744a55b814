package redirect

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "redirect.json")
	if r, err := ReadReport(file); err != nil || !r.Checked.IsZero() {
		t.Errorf("before there is one: %+v, %v", r, err)
	}
	want := Report{Checked: time.Unix(1_800_000_000, 0).UTC(), Problems: []string{"the chain steer is missing"}}
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadReport(file); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := ReadReport(file); err == nil || r.InPlace {
		t.Errorf("a damaged one: %+v, %v", r, err)
	}
	for range 2 {
		if err := RemoveReport(file); err != nil {
			t.Error(err)
		}
	}
	if err := want.Write(filepath.Join(file, "no", "folder")); err == nil {
		t.Error("it was written nowhere")
	}
}
