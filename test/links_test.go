package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading      = regexp.MustCompile(`^#{1,6} +(.*)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// A reader who follows a link of the documentation arrives.
func TestLinksOfTheDocumentationResolve(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md")}
	for _, pattern := range []string{"docs/*.md", "deploy/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	links := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range markdownLink.FindAllStringSubmatch(string(text), -1) {
			link := match[1]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(link, "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if problem := arrives(target, anchor); problem != "" {
				t.Errorf("%s links to %s: %s", filepath.Base(file), link, problem)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

// arrives tells what is wrong with a file and an anchor in it.
func arrives(file, anchor string) string {
	text, err := os.ReadFile(file)
	if info, statErr := os.Stat(file); statErr == nil && info.IsDir() && anchor == "" {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	if anchor == "" {
		return ""
	}
	code := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if match := heading.FindStringSubmatch(strings.TrimSpace(line)); match != nil && !code && anchorOf(match[1]) == anchor {
			return ""
		}
	}
	return "no heading has that anchor"
}

// anchorOf gives the anchor that a heading gets where Markdown is shown.
func anchorOf(heading string) string {
	heading = markdownLink.ReplaceAllString(heading, "]")
	return strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}
