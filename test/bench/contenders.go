package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// The programs' names in the report.
const (
	nginxName        = "nginx"
	haproxyName      = "HAProxy"
	reverseProxyName = "ReverseProxy"
	bearerdName      = "bearerd"
)

// host is the service that all stand in front of: a name that bearerd routes.
const host = "bench.vault.azure.net"

// contender is a running proxy and the URL that the load asks it for.
type contender struct {
	*process
	name, url string
}

// scene is what every contender is configured with.
type scene struct {
	dir      string // for configuration and state files
	caFile   string // what the upstream's certificate is verified against
	upstream string // host:port of the nginx that stands for the service
	token    string // added to every request
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *scene) write(name, text string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// nginxMain is what both nginx processes need to run in the foreground as one
// process, with every file in our folder.
const nginxMain = `daemon off;
master_process off;
pid %[1]s/%[2]s.pid;
error_log %[1]s/%[2]s.log warn;
events { worker_connections 1024; }
`

const nginxHTTP = `  access_log off;
  client_body_temp_path %[1]s/%[2]s-body;
  proxy_temp_path %[1]s/%[2]s-proxy;
  fastcgi_temp_path %[1]s/%[2]s-fastcgi;
  uwsgi_temp_path %[1]s/%[2]s-uwsgi;
  scgi_temp_path %[1]s/%[2]s-scgi;
  keepalive_requests 100000000;
`

// startUpstream starts the nginx that stands for the service: 1 KiB for
// those who bring a token, 401 for others.
func (s *scene) startUpstream(ctx context.Context, certFile, keyFile string) (*process, error) {
	body := make([]byte, 1024)
	for i := range body {
		body[i] = 'x'
	}
	file, err := s.write("upstream.conf", fmt.Sprintf(nginxMain+`http {
`+nginxHTTP+`  server {
    listen %[3]s ssl;
    ssl_certificate %[4]s;
    ssl_certificate_key %[5]s;
    location / {
      default_type application/octet-stream;
      if ($http_authorization !~ "^Bearer ey") { return 401; }
      return 200 %[6]s;
    }
  }
}
`, s.dir, "upstream", s.upstream, certFile, keyFile, body))
	if err != nil {
		return nil, err
	}
	return start(ctx, s.upstream, "nginx", "-e", filepath.Join(s.dir, "upstream.log"), "-c", file)
}

func (s *scene) startNginx(ctx context.Context, address string) (*process, error) {
	file, err := s.write("nginx.conf", fmt.Sprintf(nginxMain+`http {
`+nginxHTTP+`  upstream service { server %[3]s; keepalive 64; keepalive_requests 100000000; }
  server {
    listen %[4]s;
    location / {
      proxy_pass https://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host %[5]s;
      proxy_set_header Authorization "Bearer %[6]s";
      proxy_ssl_name %[5]s;
      proxy_ssl_server_name on;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate %[7]s;
    }
  }
}
`, s.dir, "nginx", s.upstream, address, host, s.token, s.caFile))
	if err != nil {
		return nil, err
	}
	return start(ctx, address, "nginx", "-e", filepath.Join(s.dir, "nginx.log"), "-c", file)
}

func (s *scene) startHAProxy(ctx context.Context, address string) (*process, error) {
	file, err := s.write("haproxy.cfg", fmt.Sprintf(`global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend in
  bind %s
  default_backend service
backend service
  http-reuse always
  http-request set-header Host %s
  http-request set-header Authorization "Bearer %s"
  server one %s ssl verify required ca-file %s sni str(%s) verifyhost %s pool-max-conn 64
`, address, host, s.token, s.upstream, s.caFile, host, host))
	if err != nil {
		return nil, err
	}
	return start(ctx, address, "haproxy", "-f", file)
}

func (s *scene) startReverseProxy(ctx context.Context, self, address string) (*process, error) {
	return start(ctx, address, self, reverseProxyCommand, address, s.upstream, s.caFile, s.token)
}

// startBearerd starts it with all that it does by default: access lines for
// failed requests, metrics, the admin listener.
func (s *scene) startBearerd(ctx context.Context, binary, address, imds string) (*process, error) {
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file, err := s.write("bearerd.yaml", fmt.Sprintf(`cloud: public
listen: [{address: %q}]
admin: {address: %q}
state_dir: %s/state
imds: {endpoint: %s}
upstream:
  ca_file: %s
  connect_to: {%s: %q}
routes:
  - service: keyvault
    hosts: [%s]
    methods: [GET]
    gateway: vault
log: {level: info, format: json, access: errors}
`, address, admin, s.dir, imds, s.caFile, host, s.upstream, host))
	if err != nil {
		return nil, err
	}
	return start(ctx, address, binary, "run", "--config", file)
}

// build makes the bearerd under test, as it is released.
func build(ctx context.Context, root, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./cmd/bearerd")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("build bearerd: %s", text), err)
	}
	return nil
}
