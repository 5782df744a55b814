package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// level is how bad a finding is.
type level uint8

const (
	levelOK   level = iota
	levelNote       // nothing is wrong, and it is good to know
	levelWarn       // it works, and may not be meant, or not for long
	levelFail
)

// MarshalText gives the word of the JSON.
func (l level) MarshalText() ([]byte, error) {
	return []byte([...]string{"ok", "note", "warn", "fail"}[l]), nil
}

// finding is what one check saw.
type finding struct {
	Check   string `json:"check"`
	Level   level  `json:"level"`
	Subject string `json:"subject,omitempty"` // what was looked at
	Seen    string `json:"seen"`
	Do      string `json:"do,omitempty"`      // of a warning or a failure
	Command string `json:"command,omitempty"` // that does it
}

// failed is a finding whose error ends with what to do.
func failed(check, subject string, err error) finding {
	seen, do := splitAdvice(err.Error())
	return finding{Check: check, Level: levelFail, Subject: subject, Seen: seen, Do: do}
}

// splitAdvice takes what to do off what is wrong.
func splitAdvice(text string) (seen, do string) {
	if i := strings.LastIndex(text, "; "); i > 0 {
		return text[:i], text[i+2:]
	}
	return text, ""
}

// textWidth is how wide a terminal may be counted on to be.
const textWidth = 80

// writeFindings writes the findings for people.
func writeFindings(w io.Writer, findings []finding) error {
	var b bytes.Buffer
	for _, f := range findings {
		head := [...]string{"ok    ", "note  ", "warn  ", "FAIL  "}[f.Level]
		text := f.Check + ": "
		if f.Subject != "" {
			text += f.Subject + ": "
		}
		fold(&b, head, text+f.Seen)
		if f.Do != "" {
			fold(&b, "      -> ", f.Do)
		}
		if f.Command != "" {
			b.WriteString("         " + f.Command + "\n") // in one piece, to be copied
		}
	}
	_, err := b.WriteTo(w)
	return err
}

// fold writes words behind a head, and lines after the first below the words.
func fold(b *bytes.Buffer, head, text string) {
	indent := strings.Repeat(" ", len(head))
	b.WriteString(head)
	at := len(head)
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > textWidth:
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteByte('\n')
}
