package bench_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/calimero-network/mero-go/pkg/freeport"
)

// nginxConfig asks a gate about every request, as the shipped configuration does, and answers what is allowed itself, so
// that the gate is the larger part of the cost.
const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
worker_processes %[2]d;
error_log stderr crit;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %[1]s/body;
    proxy_temp_path %[1]s/proxy;
    fastcgi_temp_path %[1]s/fastcgi;
    uwsgi_temp_path %[1]s/uwsgi;
    scgi_temp_path %[1]s/scgi;
    keepalive_requests 1000000000;
%[3]s
}
`

const nginxServer = `
    upstream gate%[1]d { server %[2]s; keepalive 32; keepalive_requests 1000000000; }
    server {
        listen %[3]s;
        location = /_gate {
            internal;
            proxy_pass http://gate%[1]d/auth/validate?proxy=nginx;
            proxy_method GET;
            proxy_http_version 1.1;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_set_header Authorization $http_authorization;
            proxy_set_header Accept $http_accept;
            proxy_set_header X-Request-Id $request_id;
            proxy_set_header X-Original-URI $request_uri;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Original-Host $http_host;
        }
        location / {
            auth_request /_gate;
            auth_request_set $mero_key $upstream_http_x_auth_key;
            auth_request_set $mero_user $upstream_http_x_auth_user;
            auth_request_set $mero_permissions $upstream_http_x_auth_permissions;
            auth_request_set $mero_expires $upstream_http_x_auth_expires;
            auth_request_set $mero_assertion $upstream_http_x_auth_assertion;
            empty_gif;
        }
    }
`

// startNginx puts one nginx before each of the gates and returns the addresses. Without an nginx it returns none.
func startNginx(t *testing.T, gates ...string) []string {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		t.Log("nginx is not installed: its rows are left out")
		return nil
	}
	dir := t.TempDir()
	var servers strings.Builder
	var addrs []string
	for i, gate := range gates {
		addrs = append(addrs, freeport.Addr())
		fmt.Fprintf(&servers, nginxServer, i, gate, addrs[i])
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, max(1, runtime.NumCPU()/2), servers.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "-e", "stderr", "-p", dir, "-c", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			t.Errorf("nginx: %v", err)
		}
	})
	for _, addr := range addrs {
		awaitListener(t, addr)
	}
	return addrs
}

// awaitListener dials until somebody listens.
func awaitListener(t *testing.T, addr string) {
	t.Helper()
	for {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close() // nothing was said
			return
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
}
