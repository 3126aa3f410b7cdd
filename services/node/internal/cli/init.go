package cli

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/calimero-network/mero-go/services/node/internal/config"
	"github.com/calimero-network/mero-go/services/node/internal/home"
	"github.com/calimero-network/mero-go/services/node/internal/multiaddr"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

// initFlags are the flags of init. What concerns later parts of the node is stored in the configuration too.
type initFlags struct {
	mode, authMode, authStorage, authPath, bootNetwork, relayer, protocol string

	bootNodes, swarmHosts, serverHosts, external []string

	swarmPort, serverPort uint16

	rendezvous, relay, probeInterval, candidates int64

	mdns, noMDNS, advertise, noAdmin, force, json bool
}

func (f *initFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.mode, "mode", "standard", "standard or read-only")
	fs.StringSliceVar(&f.bootNodes, "boot-nodes", nil, "multiaddrs of boot nodes")
	fs.StringVar(&f.bootNetwork, "boot-network", "", "well-known boot nodes: calimero-dev or ipfs")
	fs.StringSliceVar(&f.swarmHosts, "swarm-host", []string{"0.0.0.0", "::"}, "addresses of the peer-to-peer listener")
	fs.Uint16Var(&f.swarmPort, "swarm-port", 2428, "port of the peer-to-peer listener")
	fs.StringSliceVar(&f.serverHosts, "server-host", []string{"127.0.0.1", "::1"}, "addresses of the HTTP listener")
	fs.Uint16Var(&f.serverPort, "server-port", 2528, "port of the HTTP listener")
	fs.StringVar(&f.authMode, "auth-mode", config.AuthProxy, "proxy, embedded or none")
	fs.StringVar(&f.authStorage, "auth-storage", "persistent", "where embedded authentication keeps its keys: persistent or memory")
	fs.StringVar(&f.authPath, "auth-storage-path", "auth", "directory of that store")
	fs.BoolVar(&f.noAdmin, "no-admin", false, "kept for the reference, without effect: nothing makes an account by itself, the first login needs the one-time secret")
	fs.StringVar(&f.relayer, "relayer-url", "", "kept for the reference's chain client, without effect")
	fs.StringVar(&f.protocol, "protocol", "", "kept for the reference's chain client, without effect")
	fs.BoolVar(&f.mdns, "mdns", true, "find peers in the local network")
	fs.BoolVar(&f.noMDNS, "no-mdns", false, "do not find peers in the local network")
	fs.BoolVar(&f.advertise, "advertise-address", false, "tell peers the observed external address")
	fs.StringSliceVar(&f.external, "external-address", nil, "multiaddrs under which the node is reachable from outside")
	fs.Int64Var(&f.rendezvous, "rendezvous-registrations-limit", 3, "most rendezvous points to register at")
	fs.Int64Var(&f.relay, "relay-registrations-limit", 3, "most relays to hold a reservation at")
	fs.Int64Var(&f.probeInterval, "autonat-probe-interval", 10, "seconds between two reachability probes")
	fs.Int64Var(&f.candidates, "autonat-max-candidates", 5, "most addresses that one probe tests")
	fs.BoolVar(&f.force, "force", false, "remove an existing node's key, database and blobs, and start anew")
	fs.BoolVar(&f.json, "json", false, "write the result as JSON, for scripts")
}

const initHelp = `Makes a node: the directory HOME/NODE with a new key and config.toml. Nothing listens yet; 'run' starts it.

On a node that exists it changes nothing and exits with 0, so that scripts can call it each time. --force first removes the
node's key, database and blobs; it refuses while the node runs. All flags of the reference's init are accepted; what
concerns parts that come later is stored in the configuration.`

func (p Process) initCommand(pl *place) *cobra.Command {
	f := &initFlags{}
	c := &cobra.Command{
		Use: "init", Short: "Make a node: its directory, key and configuration", Long: initHelp, Args: cobra.NoArgs,
		Example: "  merod --home ./nodes --node node1 init --server-port 2528 --swarm-port 2428\n" +
			"  merod --home /data --node node1 init --server-host 0.0.0.0",
		RunE: func(c *cobra.Command, _ []string) error { return p.initNode(c, pl, f) },
	}
	f.register(c.Flags())
	c.MarkFlagsMutuallyExclusive("mdns", "no-mdns")
	return c
}

func (p Process) initNode(c *cobra.Command, pl *place, f *initFlags) error {
	dir, err := pl.dir()
	if err != nil {
		return err
	}
	exists, err := dir.Initialized()
	switch {
	case err != nil:
		return err
	case exists && !f.force && f.json:
		return p.writeJSON(initialized{Node: string(dir), Config: dir.Config()})
	case exists && !f.force:
		_, err = fmt.Fprintf(p.Stderr, "merod: %s is already initialized; nothing changed (--force makes it anew)\n", dir)
		return err
	}
	settings, err := f.settings(c.Flags())
	if err != nil {
		return err
	}
	if f.force {
		if err := reset(dir); err != nil {
			return err
		}
	}
	return p.makeNode(dir, settings, f.json)
}

// initialized is the result of init. PeerID is empty if the node was there already.
type initialized struct {
	Created bool   `json:"created"`
	PeerID  string `json:"peerId,omitempty"`
	Node    string `json:"node"`
	Config  string `json:"config"`
}

// makeNode writes the configuration and says so.
func (p Process) makeNode(dir home.Dir, settings *config.File, asJSON bool) error {
	peerID, err := dir.Init(settings)
	if err != nil {
		return err
	}
	if asJSON {
		return p.writeJSON(initialized{true, peerID, string(dir), dir.Config()})
	}
	_, err = fmt.Fprintf(p.Stdout, "initialized node %s in %s\n", peerID, dir)
	return err
}

// reset removes the state of a node that no process runs. A database that is damaged must not stand in the way.
func reset(dir home.Dir) error {
	if _, _, err := config.Load(dir.Config(), nil, nil); errors.Is(err, config.ErrNoFile) {
		return dir.Reset()
	}
	db, err := store.Open(dir.Path("data"))
	if errors.Is(err, store.ErrLocked) {
		return err
	}
	if err == nil {
		// The lock goes with the file; from here on a node that starts finds no configuration it could trust.
		if err := db.Close(); err != nil {
			return err
		}
	}
	return dir.Reset()
}

// settings returns the configuration that the flags ask for.
func (f *initFlags) settings(fs *pflag.FlagSet) (*config.File, error) {
	server, err := listenAddrs("server-host", f.serverHosts, f.serverPort, "/tcp/%d")
	if err != nil {
		return nil, err
	}
	swarm, err := listenAddrs("swarm-host", f.swarmHosts, f.swarmPort, "/tcp/%d", "/udp/%d/quic-v1")
	if err != nil {
		return nil, err
	}
	file := config.NewFile()
	for _, s := range []struct {
		path  string
		value any
	}{
		{"mode", f.mode},
		{"swarm.listen", swarm},
		{"server.listen", server},
		{"server.auth_mode", f.authMode},
		{"server.admin.enabled", true},
		{"server.jsonrpc.enabled", true},
		{"server.websocket.enabled", true},
		{"server.websocket.ping_interval_secs", int64(30)},
		{"server.websocket.pong_timeout_secs", int64(10)},
		{"server.sse.enabled", true},
		{"bootstrap.nodes", f.bootNodes},
		{"discovery.mdns", f.mdns && !f.noMDNS},
		{"discovery.advertise_address", f.advertise},
		{"discovery.rendezvous.registrations_limit", f.rendezvous},
		{"discovery.relay.registrations_limit", f.relay},
		{"discovery.autonat.max_candidates", f.candidates},
		{"discovery.autonat.probe_interval", f.probeInterval},
		{"sync.timeout_ms", int64(30000)},
		{"sync.interval_ms", int64(5000)},
		{"sync.frequency_ms", int64(10000)},
		{"datastore.path", "data"},
		{"blobstore.path", "blobs"},
	} {
		file.Set(s.path, s.value)
	}
	f.optional(file, fs)
	return file, nil
}

// optional writes what most configurations do without.
func (f *initFlags) optional(file *config.File, fs *pflag.FlagSet) {
	if fs.Changed("boot-network") {
		file.Set("bootstrap.network", f.bootNetwork)
	}
	if fs.Changed("external-address") {
		file.Set("discovery.external_addresses", f.external)
	}
	if f.authMode == config.AuthEmbedded || fs.Changed("auth-storage") || fs.Changed("auth-storage-path") {
		file.Set("server.embedded.storage", f.authStorage)
		file.Set("server.embedded.storage_path", f.authPath)
	}
	if f.relayer != "" {
		file.SetFree("relayer_url", f.relayer)
	}
	if f.protocol != "" {
		file.SetFree("protocol", f.protocol)
	}
}

// listenAddrs returns for each host an address with each of the transports.
func listenAddrs(flag string, hosts []string, port uint16, transports ...string) ([]string, error) {
	out := []string{}
	for _, host := range hosts {
		ip, err := netip.ParseAddr(host)
		if err != nil || ip.Zone() != "" {
			return nil, fmt.Errorf("--%s: %q is not an IP address", flag, host)
		}
		prefix := multiaddr.FromTCP(netip.AddrPortFrom(ip, 0))[:1].String()
		for _, t := range transports {
			out = append(out, prefix+fmt.Sprintf(t, port))
		}
	}
	return out, nil
}
