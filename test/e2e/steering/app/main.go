// Command app is an app as the tests find many: a static Go program that makes
// one GET and prints the answer's body.
//
//	app [-http2] URL
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	http2 := flag.Bool("http2", false, "speak HTTP/2 and nothing else")
	flag.Parse()
	if err := get(flag.Arg(0), *http2); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func get(url string, http2 bool) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if http2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
	}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || http2 && answer.ProtoMajor != 2 {
		return fmt.Errorf("%s: %s %s", url, answer.Proto, answer.Status)
	}
	fmt.Println(string(body))
	return nil
}
