package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"
)

const reverseProxyCommand = "reverse-proxy"

// serveReverseProxy is the standard library's proxy with as little as the job
// needs: what bearerd's net/http path is compared with.
func serveReverseProxy(args []string) error {
	if len(args) != 4 {
		return errors.New("reverse-proxy takes ADDRESS UPSTREAM CA_FILE TOKEN")
	}
	address, upstream, caFile, token := args[0], args[1], args[2], "Bearer "+args[3]
	text, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return errors.New("no certificate in " + caFile)
	}
	target := &url.URL{Scheme: "https", Host: upstream}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = host
			r.Out.Header.Set("Authorization", token)
		},
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: host},
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}
