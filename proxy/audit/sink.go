package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
)

// chunk is how many bytes are gathered for one write.
const chunk = 64 << 10

// lines is a sink of JSON lines.
type lines struct {
	out  io.Writer
	file *os.File // out, where it is opened by us; else nil
	path string   // of file
	torn int      // how many bytes of the record that comes next are written
	text bytes.Buffer
	ends []int // of the lines in text
}

func standardOutput(out io.Writer) *lines {
	if out == nil {
		out = os.Stdout
	}
	return &lines{out: out}
}

func openFile(path string) (*lines, error) {
	f, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	return &lines{out: f, file: f, path: path}, nil
}

// appendTo opens a file that its owner writes and its group reads. What is no
// file (a pipe that nobody reads yet) would hold up the start.
func appendTo(path string) (*os.File, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file; name another, or one that is not there yet", path)
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
}

func (l *lines) write(records []Record) (whole int, err error) {
	for whole < len(records) && err == nil {
		l.text.Reset()
		l.ends = l.ends[:0]
		for i := whole; i < len(records) && l.text.Len() < chunk; i++ {
			records[i].writeTo(&l.text)
			l.ends = append(l.ends, l.text.Len())
		}
		var n int
		n, err = l.out.Write(l.text.Bytes()[l.torn:])
		n += l.torn
		full := sort.SearchInts(l.ends, n+1)
		whole += full
		l.torn = n
		if full > 0 {
			l.torn -= l.ends[full-1]
		}
	}
	return whole, err
}

func (l *lines) reopen() error {
	if l.file == nil {
		return nil
	}
	f, err := appendTo(l.path)
	if err != nil {
		return fmt.Errorf("the audit stream goes on in the file that was open: %w", err)
	}
	l.file.Close()
	// A record that is half in the old file is whole in the other.
	l.out, l.file, l.torn = f, f, 0
	return nil
}

func (l *lines) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
