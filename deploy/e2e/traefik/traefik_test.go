package traefik_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	staticFile  = "../../../traefik/traefik.yml"
	dynamicFile = "../../../traefik/dynamic.yml"
	nginxFile   = "../../../nginx/mero.conf"
	composeFile = "../../../docker-compose.yml"

	ruleAuth = "Path(`/auth`) || (PathPrefix(`/auth/`) && !PathPrefix(`/auth/validate/`)) || Path(`/admin`) || PathPrefix(`/admin/`)"
	ruleRest = "PathPrefix(`/`)"
	hostAuth = `http://{{ env "MERO_GATE_AUTH" }}:3001`
	hostNode = `http://{{ env "MERO_BACKEND_NODE" }}:2528`
)

// expect compares single settings.
func (s settings) expect(t *testing.T, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got, set := s[name]; !set || got != value {
			t.Errorf("%s is %q (set: %v), want %q", name, got, set, value)
		}
	}
}

func expectList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// sections returns the sorted names at the top of a file.
func (s settings) sections() []string {
	var names []string
	for name := range s {
		first, _, _ := strings.Cut(name, ".")
		if !slices.Contains(names, first) {
			names = append(names, first)
		}
	}
	slices.Sort(names)
	return names
}

// canonical spells a header name as Traefik does, which nginx does not need.
func canonical(name string) string {
	words := strings.Split(strings.ToLower(name), "-")
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "-")
}

func TestNoUngatedRouteToTheNode(t *testing.T) {
	s := read(t, dynamicFile)
	expectList(t, "sections", s.sections(), "http")
	expectList(t, "http", s.children("http"), "middlewares", "routers", "serversTransports", "services")
	gated := 0
	for _, name := range s.children("http.routers") {
		r := s.below("http.routers." + name)
		expectList(t, name+" entry points", r.list("entryPoints"), "web")
		switch r["service"] {
		case "auth":
			expectList(t, name+" middlewares", r.list("middlewares"), "clean")
			if r["rule"] != ruleAuth {
				t.Errorf("router %s reaches mero-auth with the rule %s, want %s", name, r["rule"], ruleAuth)
			}
		case "node":
			gated++
			expectList(t, name+" middlewares", r.list("middlewares"), "clean", "gate", "withhold")
		default:
			t.Errorf("router %s leads to %q", name, r["service"])
		}
	}
	if gated == 0 {
		t.Error("no router leads to the node")
	}
	s.expect(t, map[string]string{
		"http.routers.node.rule": ruleRest, "http.routers.node.priority": "1", "http.routers.auth.priority": "20",
	})
	expectList(t, "services", s.children("http.services"), "auth", "node")
	s.expect(t, map[string]string{
		"http.services.auth.loadBalancer.servers.url": hostAuth,
		"http.services.node.loadBalancer.servers.url": hostNode,
	})
}

// A prefix without its slash also takes what only begins the same: /admin-api/ would go past the gate.
func TestAdminPrefixDoesNotTakeTheAdminAPI(t *testing.T) {
	s := read(t, dynamicFile)
	prefix := regexp.MustCompile("PathPrefix\\(`([^`]*)`\\)")
	found := 0
	for _, name := range s.children("http.routers") {
		for _, m := range prefix.FindAllStringSubmatch(s["http.routers."+name+".rule"], -1) {
			found++
			if !strings.HasSuffix(m[1], "/") {
				t.Errorf("router %s: PathPrefix(`%s`) does not end at a slash", name, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("no PathPrefix in any rule")
	}
}

func TestQuestionToTheGate(t *testing.T) {
	s := read(t, dynamicFile).below("http.middlewares.gate")
	expectList(t, "kinds of gate", s.children("forwardAuth"), "address", "authRequestHeaders", "authResponseHeaders",
		"forwardBody", "headerField", "maxResponseBodySize", "preserveLocationHeader", "trustForwardHeader")
	s.expect(t, map[string]string{
		"forwardAuth.address":             hostAuth + "/auth/validate?proxy=traefik",
		"forwardAuth.trustForwardHeader":  "false",
		"forwardAuth.forwardBody":         "false",
		"forwardAuth.maxResponseBodySize": "65536",
	})
	expectList(t, "to the gate", s.list("forwardAuth.authRequestHeaders"),
		"Authorization", "Accept", "Origin", "Access-Control-Request-Method", "Sec-Fetch-Mode", "X-Request-Id")
	expectList(t, "from the gate", s.list("forwardAuth.authResponseHeaders"),
		"X-Auth-Key", "X-Auth-User", "X-Auth-Permissions", "X-Auth-Expires", "X-Auth-Assertion")
}

// What nginx asks the gate, Traefik asks, but for the target that each tells in its own family.
func TestSameQuestionAsNginx(t *testing.T) {
	_, rest, found := strings.Cut(readNginx(t), "location = /_mero/gate {")
	question, _, closed := strings.Cut(rest, "\n        }")
	if !found || !closed {
		t.Fatal("no location for the gate in " + nginxFile)
	}
	var want []string
	for _, m := range nginxHeader.FindAllStringSubmatch(question, -1) {
		switch name := m[1]; {
		case m[2] == `""`, name == "Host", strings.HasPrefix(name, "X-Original-"):
		default:
			want = append(want, name)
		}
	}
	got := read(t, dynamicFile).list("http.middlewares.gate.forwardAuth.authRequestHeaders")
	expectList(t, "to the gate", got, want...)
}

// Every header that nginx removes from what a client sends, or replaces by the gate's answer, is removed before the
// gate by Traefik, too.
func TestClientHeadersAreRemovedAsByNginx(t *testing.T) {
	s := read(t, dynamicFile)
	clean := s.below("http.middlewares.clean.headers.customRequestHeaders")
	expectList(t, "what clean does", s.children("http.middlewares.clean"), "headers")
	expectList(t, "what clean does to headers", s.children("http.middlewares.clean.headers"), "customRequestHeaders")
	for name, value := range clean {
		if value != "" || name != canonical(name) {
			t.Errorf("clean sets %q to %q, want a canonical name without a value", name, value)
		}
	}
	elsewhere := map[string]string{
		"Authorization":      "removed after the gate, by withhold",
		"Trailer":            "the server of Traefik drops trailers",
		"X-Forwarded-Port":   "replaced by Traefik",
		"X-Forwarded-Server": "replaced by Traefik",
	}
	server, _, found := strings.Cut(readNginx(t), "location = /_mero/gate {")
	if !found {
		t.Fatal("no location for the gate in " + nginxFile)
	}
	checked := 0
	for _, m := range nginxHeader.FindAllStringSubmatch(server, -1) {
		name := canonical(m[1])
		fromGate := strings.HasPrefix(name, "X-Auth-")
		if m[2] != `""` && !fromGate {
			continue
		}
		checked++
		if _, removed := clean[name]; !removed && elsewhere[name] == "" {
			t.Errorf("nginx removes %s, Traefik does not", name)
		}
	}
	if checked < 30 {
		t.Errorf("only %d headers of %s were compared", checked, nginxFile)
	}
	expectList(t, "what is withheld", s.children("http.middlewares.withhold.headers.customRequestHeaders"), "Authorization")
	s.expect(t, map[string]string{"http.middlewares.withhold.headers.customRequestHeaders.Authorization": ""})
}

func TestStaticConfiguration(t *testing.T) {
	s := read(t, staticFile)
	// Neither api nor certificatesResolvers, metrics, tracing or experimental.
	expectList(t, "sections", s.sections(), "accessLog", "entryPoints", "global", "log", "ping", "providers")
	expectList(t, "providers", s.children("providers"), "file")
	expectList(t, "entry points", s.children("entryPoints"), "ping", "web")
	for _, name := range s.children("entryPoints") {
		expectList(t, name+" forwardedHeaders", s.children("entryPoints."+name+".forwardedHeaders"), "insecure")
		s.expect(t, map[string]string{
			"entryPoints." + name + ".forwardedHeaders.insecure": "false",
			"entryPoints." + name + ".http.aliasHeadersStrategy": "delete",
		})
	}
	s.expect(t, map[string]string{
		"entryPoints.web.address":                                   ":8080",
		"entryPoints.ping.address":                                  "127.0.0.1:8082",
		"entryPoints.web.http.sanitizePath":                         "true",
		"entryPoints.web.http.maxHeaderBytes":                       "65536",
		"entryPoints.web.transport.respondingTimeouts.readTimeout":  "1h",
		"entryPoints.web.transport.respondingTimeouts.writeTimeout": "0s",
		"ping.entryPoint":                                           "ping",
	})
}

// Tokens are in Authorization and in the query of "/ws" and "/sse".
func TestNoTokenInTheLogs(t *testing.T) {
	s := read(t, staticFile)
	s.expect(t, map[string]string{
		"log.level":        "WARN",
		"accessLog.format": "json",
		"accessLog.fields.queryParameters.defaultMode": "drop",
		"accessLog.fields.headers.defaultMode":         "drop",
	})
	expectList(t, "logged headers", s.children("accessLog.fields.headers.names"), "User-Agent", "X-Auth-Error", "X-Request-Id")
}

// The service gets the variables of the template, and the addresses and the hardening of nginx: the lists of trusted
// proxies hold those addresses.
func TestComposeService(t *testing.T) {
	raw, err := os.ReadFile(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	service := func(name string) string {
		_, rest, found := strings.Cut(string(raw), "\n  "+name+":\n")
		if !found {
			t.Fatalf("no service %s in %s", name, composeFile)
		}
		return regexp.MustCompile(`(?m)^(?:\S|  \S)`).Split(rest, 2)[0]
	}
	got, nginx := service("traefik"), service("nginx")
	for _, want := range []string{
		"    profiles: [traefik]\n", "    image: traefik:v3.7\n", "    user: \"65532:65532\"\n",
		"      MERO_GATE_AUTH: ${MERO_GATE_AUTH}\n", "      MERO_BACKEND_NODE: ${MERO_BACKEND_NODE}\n", "      NO_PROXY: \"*\"\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the service traefik lacks %q", want)
		}
	}
	for _, line := range []string{
		"      - \"${MERO_BIND}:${MERO_PORT}:8080\"\n", "        ipv4_address: ${MERO_GATE_PROXY}\n",
		"        ipv4_address: ${MERO_BACKEND_PROXY}\n", "    read_only: true\n", "    cap_drop: [ALL]\n",
		"    security_opt: [\"no-new-privileges:true\"]\n", "    pids_limit: 256\n", "    logging: *logging\n",
	} {
		if !strings.Contains(nginx, line) || !strings.Contains(got, line) {
			t.Errorf("nginx and traefik must both have %q", line)
		}
	}
	if strings.Contains(got, "docker.sock") {
		t.Error("the service traefik mounts the engine's socket")
	}
}

var nginxHeader = regexp.MustCompile(`(?m)^ +proxy_set_header (\S+) (\S+);`)

func readNginx(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(nginxFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
