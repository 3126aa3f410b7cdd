package permission

// listed is a permission with the text that stood for it.
type listed struct {
	Permission
	text string
}

// Effective returns the list that holds of a token when its key's list, and then the list of the root above the
// key, are what they are now: whatever it allows, each of the lists allows.
//
// A permission of the token stays as it is if the next list covers it; otherwise those of the next list that it
// covers take its place. The strings are verbatim, in the order of the token; a value that comes twice is kept
// once. Overlaps of which neither covers the other (context:execute[c] and context:execute[,alice]) are lost,
// so the result may allow less than the lists together, never more.
//
// Bindings always stay, also beside admin: those of one list are kept (those of a later list in front), and when
// two lists have bindings, what both permit is kept. If that is nothing, or a binding is malformed, the result
// holds context[!], which no context satisfies.
func Effective(token []string, live ...[]string) []string {
	list := readAll(token)
	for _, l := range live {
		list = narrow(list, readAll(l))
	}
	texts := make([]string, len(list))
	for i, l := range list {
		texts[i] = l.text
	}
	return texts
}

// collection is a list in which every value comes once. It is searched from end to end: lists are short
// ([MaxCount] permissions a key at most), and a map would cost more than it saves.
type collection struct{ list []listed }

func newCollection(size int) collection { return collection{make([]listed, 0, size)} }

func (c *collection) add(l listed) {
	for i := range c.list {
		if c.list[i].Permission == l.Permission {
			return
		}
	}
	c.list = append(c.list, l)
}

// readAll leaves out what means nothing and what was there before.
func readAll(texts []string) []listed {
	c := newCollection(len(texts))
	for _, s := range texts {
		if p, text, ok := read(s); ok {
			c.add(listed{p, text})
		}
	}
	return c.list
}

// narrow returns what list and next have in common, in the order of list.
func narrow(list, next []listed) []listed {
	mine, theirs := byKind(list), byKind(next)
	common := newCollection(len(list))
	for _, kind := range [...]action{contextBinding, applicationBinding} {
		switch {
		case len(mine[kind]) == 0:
			for _, l := range theirs[kind] {
				common.add(l)
			}
		case len(theirs[kind]) > 0 && !overlap(mine[kind], theirs[kind]):
			nothing := Permission{action: kind, id: noObject}
			common.add(listed{nothing, nothing.String()})
		}
	}
	for _, l := range list {
		if l.IsBinding() && len(theirs[l.action]) == 0 {
			common.add(l)
			continue
		}
		common.meet(l, theirs[l.kind()])
	}
	return common.list
}

// meet adds l if one of theirs covers it, and otherwise those of theirs that l covers.
func (c *collection) meet(l listed, theirs []listed) {
	for i := range theirs {
		if theirs[i].Covers(l.Permission) {
			c.add(l)
			return
		}
	}
	for i := range theirs {
		if l.Covers(theirs[i].Permission) {
			c.add(theirs[i])
		}
	}
}

// overlap reports whether the bindings of two lists have anything in common.
func overlap(mine, theirs []listed) bool {
	for _, l := range mine {
		for _, t := range theirs {
			if l.Covers(t.Permission) || t.Covers(l.Permission) {
				return true
			}
		}
	}
	return false
}

// kind separates the bindings, which are compared only with their like, from the grants (none).
func (l listed) kind() action {
	if l.IsBinding() {
		return l.action
	}
	return none
}

// byKind sorts a list into the kinds, keeping the order.
func byKind(list []listed) [firstOrdinary][]listed {
	var kinds [firstOrdinary][]listed
	for _, l := range list {
		kinds[l.kind()] = append(kinds[l.kind()], l)
	}
	return kinds
}
