package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// FreeAddress gives a loopback address that nobody listens on at the moment.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Eventually asks until the answer is no error; it is for conditions of other
// processes, which cannot wake us.
func Eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not so in time: %s: %v", what, err)
		case <-tick.C:
		}
	}
}

// Answers is no error where a GET of the URL is answered with the status.
func Answers(url string, status int) error {
	resp, err := Direct.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != status {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return err
}

// Direct is the tests' own client for bearerd's admin listener and base URLs.
var Direct = &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}

// Get gives the body of a GET's answer.
func Get(t *testing.T, url string) string {
	t.Helper()
	resp, err := Direct.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// AzureError is the shape that bearerd's own answers have.
type AzureError struct {
	Error struct{ Code, Message string }
}

// ParseAzureError reads an answer of bearerd's own.
func ParseAzureError(t *testing.T, text string) AzureError {
	t.Helper()
	var e AzureError
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
		t.Fatalf("not an error in Azure's shape (%v): %s", err, text)
	}
	return e
}
