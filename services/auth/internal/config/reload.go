package config

import "reflect"

// Change is what a reload does: which settings a running service takes over, and which wait for a restart.
type Change struct {
	Config  Config   // of the service after the reload
	Applied []string // settings that changed
	Restart []string // settings whose new value needs a restart; Config keeps the old one
}

// Reload merges the settings that may change under a running service from next into c. The error is a Problems: a
// value of next that cannot go together with one of c that stays until a restart.
func (c Config) Reload(next Config) (Change, error) {
	merged := c
	change := Change{}
	// What follows from these moves with them, at the restart.
	moved := c.PublicURL != next.PublicURL || c.Near.Network != next.Near.Network
	for _, f := range newSchema().fields {
		before, after := f.of(&c), f.of(&next)
		if reflect.DeepEqual(before.Interface(), after.Interface()) {
			continue
		}
		if !f.live || moved && f.derived != "" {
			change.Restart = append(change.Restart, f.name)
			continue
		}
		change.Applied = append(change.Applied, f.name)
		f.of(&merged).Set(after)
	}
	if c.Admin != next.Admin {
		change.Restart = append(change.Restart, envAdminUser)
	}
	var problems Problems
	for _, r := range rules {
		if message := r.broken(merged); message != "" {
			problems = append(problems, Problem{Key: r.keys[0], Message: message + " (with a setting that changes only at a restart)"})
		}
	}
	if problems != nil {
		return Change{}, problems
	}
	change.Config = merged
	return change, nil
}
