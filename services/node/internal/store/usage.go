package store

import "github.com/calimero-network/mero-go/services/node/internal/id"

// Usage is what a group occupies, in bytes of keys and values.
type Usage struct {
	Group      Group
	Contexts   int
	Members    int
	State      int64
	Private    int64
	Deltas     int64
	Governance int64 // the records of the group itself, of its members and of the list of its contexts
}

// Usage returns what every group occupies, in the order of their ids.
func (t *Tx) Usage() ([]Usage, error) {
	var out []Usage
	for g, err := range t.Groups() {
		if err != nil {
			return nil, err
		}
		u := Usage{Group: g, Governance: int64(id.Size + len(t.tx.Bucket(bucketGroups).Get(g.ID[:])))}
		for key, value := range t.prefixed(bucketMembers, g.ID[:]) {
			u.Members++
			u.Governance += int64(len(key) + len(value))
		}
		for _, context := range t.Grouped(g.ID) {
			u.Contexts++
			u.Governance += 2 * id.Size
			c, err := t.Context(context)
			if err != nil {
				return nil, err
			}
			u.State += c.StateBytes
			u.Private += c.PrivateBytes
			u.Deltas += c.DeltaBytes
		}
		out = append(out, u)
	}
	return out, nil
}
