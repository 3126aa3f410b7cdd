package httpapi

import (
	"encoding/hex"
	"net/http"
	"time"

	"github.com/calimero-network/mero-go/pkg/buildinfo"
	"github.com/calimero-network/mero-go/pkg/fault"
	"github.com/calimero-network/mero-go/services/node/internal/health"
	"github.com/calimero-network/mero-go/services/node/internal/id"
	"github.com/calimero-network/mero-go/services/node/internal/store"
)

type status struct {
	Status health.Status `json:"status"`
}

const alive health.Status = "alive"

func (a *API) alive(c *call) error {
	if !a.Health.Alive(c.ctx()) {
		return c.JSON(http.StatusServiceUnavailable, envelope[status]{status{health.StoreUnavailable}})
	}
	return data(c, status{alive})
}

func (a *API) ready(c *call) error {
	s := a.Health.Status(c.ctx())
	if s != health.Ready {
		return c.JSON(http.StatusServiceUnavailable, envelope[status]{status{s}})
	}
	return data(c, status{s})
}

// isAuthed says nothing about the caller: the route is public, and clients read it as a sign of life.
func (a *API) isAuthed(c *call) error { return data(c, status{alive}) }

// certificate hands out the certificate of a node that speaks TLS itself; most leave that to the proxy.
func (a *API) certificate(c *call) error {
	if a.Certificate == nil {
		return fault.New(fault.NotFound, "Certificate not found")
	}
	c.Response().Header().Set("Content-Disposition", `attachment; filename="cert.pem"`)
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", a.Certificate.PEM())
}

// Node is what a node is called and how it was started.
type Node struct {
	PeerID    string
	PublicKey id.ID  // of the key that the peer id stands for
	Mode      string // standard or read-only
	Started   time.Time
}

// nodeInfo tells the operator what runs here.
func (a *API) nodeInfo(c *call) error {
	var contexts, applications int
	err := a.Store.View(c.ctx(), func(tx *store.Tx) error {
		contexts, applications = tx.CountContexts(), tx.CountApplications()
		return nil
	})
	if err != nil {
		return err
	}
	return data(c, struct {
		PeerID       string `json:"peerId"`
		Version      string `json:"version"`
		PublicKey    id.ID  `json:"publicKey"`
		Mode         string `json:"mode"`
		Uptime       int64  `json:"uptimeSeconds"`
		Contexts     int    `json:"contexts"`
		Applications int    `json:"applications"`
	}{
		a.Node.PeerID, buildinfo.Version, a.Node.PublicKey, a.Node.Mode, int64(a.Now().Sub(a.Node.Started).Seconds()), contexts, applications,
	})
}

// peers lists the connected peers. This build connects to none.
func (a *API) peers(c *call) error {
	return c.ok(struct {
		Count int      `json:"count"`
		Peers []string `json:"peers"`
	}{0, []string{}})
}

// autonat says what is known of how others reach the node.
type autonat struct {
	Reachability string  `json:"reachability"`
	LastTestAddr *string `json:"lastTestAddr"`
}

// networkStatus describes the peer-to-peer side. Nothing listens there in this build, so all that is true of it is the
// node's own name.
func (a *API) networkStatus(c *call) error {
	none := []string{}
	return c.ok(struct {
		LocalPeerID    string   `json:"localPeerId"`
		ListenAddrs    []string `json:"listenAddrs"`
		ExternalAddrs  []string `json:"externalAddrs"`
		Relays         []string `json:"relays"`
		Rendezvous     []string `json:"rendezvous"`
		DirectUpgrades []string `json:"directUpgrades"`
		AutoNAT        autonat  `json:"autonat"`
	}{a.Node.PeerID, none, none, none, none, none, autonat{Reachability: "unknown"}})
}

// namespaceUsage is what one namespace occupies.
type namespaceUsage struct {
	Namespace string     `json:"namespaceId"`
	Contexts  int        `json:"contextCount"`
	Members   int        `json:"memberCount"`
	Subgroups int        `json:"subgroupCount"`
	Bytes     usageBytes `json:"bytes"`
}

type usageBytes struct {
	State      int64 `json:"state"`
	Private    int64 `json:"privateState"`
	Delta      int64 `json:"delta"`
	Governance int64 `json:"governance"`
	Total      int64 `json:"total"`
}

// usage tells the operator what the namespaces occupy.
func (a *API) usage(c *call) error {
	namespaces := []namespaceUsage{}
	err := a.Store.View(c.ctx(), func(tx *store.Tx) error {
		usage, err := tx.Usage()
		for _, u := range usage {
			namespaces = append(namespaces, namespaceUsage{
				Namespace: hex.EncodeToString(u.Group.ID[:]), Contexts: u.Contexts, Members: u.Members,
				Bytes: usageBytes{u.State, u.Private, u.Deltas, u.Governance, u.State + u.Private + u.Deltas + u.Governance},
			})
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.ok(struct {
		Namespaces []namespaceUsage `json:"namespaces"`
	}{namespaces})
}

func (a *API) scrape(c *call) error {
	a.Metrics.Handler(a.Log).ServeHTTP(c.Response(), c.Request())
	return nil
}

// redirect leads to a path of this host.
func redirect(code int, path string) handler {
	return func(c *call) error { return c.Redirect(code, path) }
}
