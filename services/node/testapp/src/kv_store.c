// kv-store: the sample application. It keeps texts under texts, tells of its changes, and has a method for everything
// that an application can do wrong.
//
// # State
//
// The root value says how many entries there are and what they add up to: the sum of the SHA-256 of all entries, so
// that the same content has the same hash, however it came about. It lies in a tree of two entities as those of the
// Rust SDK do, so that the node can migrate it: the context and, below it, the entity "vvvv...". The entries are:
//
//	SHA-256(1, SHA-256(key))   their number, key and value
//	SHA-256("slot", number)    SHA-256(key), so that they can be listed
//
// With V2 it is the next version, which wants its state migrated.
#include "sdk.h"

#ifdef V2
enum { VERSION = 2 };
#else
enum { VERSION = 1 };
#endif

// ---- storage ----

static hash entity_key(u8 kind, const u8 *id) {
	u8 b[33] = {kind};
	memcpy(b + 1, id, 32);
	return sha256((text){b, 33});
}

static int load(hash key, text *value) {
	desc k = {ptr(key.at), 32};
	if (!host_storage_read(ptr(&k), REGISTER))
		return 0;
	*value = read_register();
	return 1;
}

static void store(hash key, text value) {
	desc k = {ptr(key.at), 32}, v = describe(value);
	host_storage_write(ptr(&k), ptr(&v), REGISTER);
}

static void erase(hash key) {
	desc k = {ptr(key.at), 32};
	host_storage_remove(ptr(&k), REGISTER);
}

// ---- the root value ----

static struct {
	u32 len;     // entries
	u64 handled; // events that on_inserted has seen
	u8 sum[32];
	u32 migrated; // the version that it was migrated from, from version 2 on
} state;

static u8 root_id[32];
static u64 time;     // of this call
static bytes actions; // of this call, for other nodes
static u32 action_count;

static void write_root(bytes *b) {
	put_u8(b, VERSION);
	put_u32(b, state.len);
	put_u64(b, state.handled);
	put(b, state.sum, 32);
	if (VERSION > 1)
		put_u32(b, state.migrated);
}

static u8 read_root(text t) {
	reader r = over(t);
	u8 version = *read_bytes(&r, 1);
	state.len = read_u32(&r);
	state.handled = read_u64(&r);
	memcpy(state.sum, read_bytes(&r, 32), 32);
	if (version > 1)
		state.migrated = read_u32(&r);
	return version;
}

// load_root reads the root value and returns its version.
static u8 load_root(void) {
	memset(root_id, 'v', 32);
	text t;
	if (!load(entity_key(1, root_id), &t) || t.len < 32)
		PANIC(str("the state is not initialized"));
	t.len -= 32; // its id
	return read_root(t);
}

static void open_state(void) {
	u8 version = load_root();
	if (version != VERSION)
		PANIC(str(version < VERSION ? "the state must be migrated first" : "the state is that of a newer version"));
}

// begin opens the state for changes.
static void begin(void) {
	open_state();
	time = now();
}

static void put_metadata(bytes *b) {
	put_u64(b, time);
	put_u64(b, time);
	put_u8(b, 0); // public
}

static hash store_index(const u8 *id, const u8 *parent, const hash *child, hash own) {
	u8 hashes[64];
	memcpy(hashes, own.at, 32);
	if (child)
		memcpy(hashes + 32, child->at, 32);
	hash full = sha256((text){hashes, child ? 64 : 32});
	bytes b = {0};
	put(&b, id, 32);
	put_u8(&b, parent != NULL);
	if (parent)
		put(&b, parent, 32);
	put_u8(&b, child != NULL);
	if (child) {
		put_u32(&b, 1);
		put(&b, root_id, 32);
		put(&b, child->at, 32);
		put_metadata(&b);
	}
	put(&b, full.at, 32);
	put(&b, own.at, 32);
	put_metadata(&b);
	store(entity_key(0, id), got(b));
	return full;
}

enum { ACTION_DELETE = 2, ACTION_UPDATE = 3 };

static void add_update(const u8 *id, text data) {
	put_u8(&actions, ACTION_UPDATE);
	put(&actions, id, 32);
	put_text(&actions, data);
	put_u32(&actions, 0); // ancestors
	put_metadata(&actions);
	action_count++;
}

static void add_delete(const u8 *id) {
	put_u8(&actions, ACTION_DELETE);
	put(&actions, id, 32);
	put_u64(&actions, time);
	put_metadata(&actions);
	action_count++;
}

// finish writes the root value and commits.
static void finish(void) {
	bytes b = {0};
	write_root(&b);
	add_update(root_id, got(b));
	put(&b, root_id, 32);
	store(entity_key(1, root_id), got(b));

	host_context_id(REGISTER);
	const u8 *context = read_register().at;
	hash leaf = store_index(root_id, context, NULL, sha256(got(b)));
	hash root = store_index(context, NULL, &leaf, (hash){{0}});

	bytes artifact = {0};
	put_u8(&artifact, 0); // a list of actions
	put_u32(&artifact, action_count);
	put(&artifact, actions.at, actions.len);
	desc r = {ptr(root.at), 32}, a = describe(got(artifact));
	host_commit(ptr(&r), ptr(&a));
}

// ---- entries ----

typedef struct { u32 slot; text key, value; } entry;

static hash slot_key(u32 slot) {
	u8 b[8] = {'s', 'l', 'o', 't'};
	__builtin_memcpy(b + 4, &slot, 4);
	return sha256((text){b, 8});
}

static int load_entry(hash id, entry *e) {
	text t;
	if (!load(entity_key(1, id.at), &t))
		return 0;
	reader r = over(t);
	e->slot = read_u32(&r);
	e->key = read_text(&r);
	e->value = read_text(&r);
	return 1;
}

static void store_entry(hash id, entry e) {
	bytes b = {0};
	put_u32(&b, e.slot);
	put_text(&b, e.key);
	put_text(&b, e.value);
	store(entity_key(1, id.at), got(b));
}

// account adds an entry to the sum, or takes it away.
static void account(entry e, int add) {
	bytes b = {0};
	put_text(&b, e.key);
	put_text(&b, e.value);
	hash h = sha256(got(b));
	int carry = 0;
	for (int i = 0; i < 32; i++) {
		carry += add ? state.sum[i] + h.at[i] : state.sum[i] - h.at[i];
		state.sum[i] = (u8)carry;
		carry >>= 8;
	}
}

static hash slot_at(u32 slot) {
	text t;
	if (!load(slot_key(slot), &t) || t.len != 32)
		PANIC(str("the stored state is damaged"));
	hash id;
	memcpy(id.at, t.at, 32);
	return id;
}

// set returns whether there was an entry.
static int set(text key, text value) {
	hash id = sha256(key);
	entry old = {0}, e = {state.len, key, value};
	int existed = load_entry(id, &old);
	if (existed) {
		account(old, 0);
		e.slot = old.slot;
	} else {
		store(slot_key(state.len++), (text){id.at, 32});
	}
	account(e, 1);
	store_entry(id, e);
	bytes data = {0};
	put_text(&data, key);
	put_text(&data, value);
	add_update(id.at, got(data));
	return existed;
}

// drop removes an entry; the last one takes its place in the list.
static int drop(hash id, entry *old) {
	if (!load_entry(id, old))
		return 0;
	account(*old, 0);
	erase(entity_key(1, id.at));
	hash last = slot_at(--state.len);
	if (old->slot != state.len) {
		entry e;
		load_entry(last, &e);
		e.slot = old->slot;
		store_entry(last, e);
		store(slot_key(old->slot), (text){last.at, 32});
	}
	erase(slot_key(state.len));
	add_delete(id.at);
	return 1;
}

// ---- events ----

static text pair(text key, text value) {
	bytes b = {0};
	put_str(&b, "{\"key\":");
	put_json(&b, key);
	put_str(&b, ",\"value\":");
	put_json(&b, value);
	put_str(&b, "}");
	return got(b);
}

static void tell(const char *kind, text data, const char *handler) {
	event e = {describe(str(kind)), describe(data)};
	if (handler) {
		desc h = describe(str(handler));
		host_emit_with_handler(ptr(&e), ptr(&h));
	} else {
		host_emit(ptr(&e));
	}
}

static void set_and_tell(const char *handler) {
	text in = input(), key = field(in, "key"), value = field(in, "value");
	begin();
	tell(set(key, value) ? "Updated" : "Inserted", pair(key, value), handler);
}

static void say(text t) {
	desc d = describe(t);
	host_log(ptr(&d));
}

// ---- methods: the store ----

EXPORT("init") init(void) {
	text t;
	memset(root_id, 'v', 32);
	if (load(entity_key(1, root_id), &t))
		PANIC(str("the state is already initialized"));
	time = now();
	finish();
}

EXPORT("set") method_set(void) {
	set_and_tell(NULL);
	finish();
}

// set_with_handler makes the node call on_inserted afterwards.
EXPORT("set_with_handler") set_with_handler(void) {
	set_and_tell("on_inserted");
	finish();
}

EXPORT("on_inserted") on_inserted(void) {
	text key = field(input(), "key");
	begin();
	state.handled++;
	say(key);
	finish();
}

EXPORT("handled") handled(void) {
	open_state();
	bytes b = {0};
	put_number(&b, state.handled);
	answer_ok(b);
}

static int find(text key, entry *e) {
	open_state();
	return load_entry(sha256(key), e);
}

static void answer_text(text t) {
	bytes b = {0};
	put_json(&b, t);
	answer_ok(b);
}

static void answer_null(void) { answer(0, str("null")); }

EXPORT("get") get(void) {
	entry e;
	if (find(field(input(), "key"), &e))
		answer_text(e.value);
	else
		answer_null();
}

EXPORT("get_unchecked") get_unchecked(void) {
	entry e;
	text key = field(input(), "key");
	if (!find(key, &e)) {
		bytes b = {0};
		put_str(&b, "key not found: ");
		put(&b, key.at, key.len);
		PANIC(got(b));
	}
	answer_text(e.value);
}

EXPORT("get_result") get_result(void) {
	entry e;
	text key = field(input(), "key");
	if (find(key, &e)) {
		answer_text(e.value);
		return;
	}
	bytes b = {0};
	put_str(&b, "{\"kind\":\"NotFound\",\"data\":");
	put_json(&b, key);
	put_str(&b, "}");
	answer_err(b);
}

EXPORT("entries") entries(void) {
	open_state();
	bytes b = {0};
	put_u8(&b, '{');
	for (u32 i = 0; i < state.len; i++) {
		entry e;
		if (!load_entry(slot_at(i), &e))
			PANIC(str("the stored state is damaged"));
		if (i)
			put_u8(&b, ',');
		put_json(&b, e.key);
		put_u8(&b, ':');
		put_json(&b, e.value);
	}
	put_u8(&b, '}');
	answer_ok(b);
}

EXPORT("len") len(void) {
	open_state();
	bytes b = {0};
	put_number(&b, state.len);
	answer_ok(b);
}

// remove answers with what was there. If nothing was, nothing changes.
EXPORT("remove") method_remove(void) {
	text key = field(input(), "key");
	begin();
	entry old;
	if (!drop(sha256(key), &old)) {
		answer_null();
		return;
	}
	bytes b = {0};
	put_str(&b, "{\"key\":");
	put_json(&b, key);
	put_str(&b, "}");
	tell("Removed", got(b), NULL);
	finish();
	answer_text(old.value);
}

EXPORT("clear") clear(void) {
	begin();
	entry old;
	while (state.len)
		drop(slot_at(state.len - 1), &old);
	tell("Cleared", str("null"), NULL);
	finish();
}

// ---- methods: what else the host can do ----

// private_set keeps a text on this node alone.
EXPORT("private_set") private_set(void) {
	text in = input(), key = field(in, "key"), value = field(in, "value");
	begin();
	desc k = describe(key), v = describe(value);
	if (!host_private_write(ptr(&k), ptr(&v)))
		PANIC(str("there is no private storage"));
	finish();
}

EXPORT("private_get") private_get(void) {
	text key = field(input(), "key");
	desc k = describe(key);
	if (host_private_read(ptr(&k), REGISTER))
		answer_text(read_register());
	else
		answer_null();
}

// blob_put makes a blob of a text and answers with its id.
EXPORT("blob_put") blob_put(void) {
	text data = field(input(), "data");
	begin();
	u64 fd = host_blob_create();
	for (u32 at = 0; at < data.len; at += 65536) {
		u32 n = data.len - at < 65536 ? data.len - at : 65536;
		desc d = {ptr(data.at + at), n};
		host_blob_write(fd, ptr(&d));
	}
	u8 id[32];
	desc to = {ptr(id), 32};
	host_blob_close(fd, ptr(&to));
	finish();
	bytes b = {0};
	put_base58(&b, id);
	answer_text(got(b));
}

EXPORT("blob_get") blob_get(void) {
	hash id = base58(field(input(), "id"));
	desc d = {ptr(id.at), 32};
	u64 fd = host_blob_open(ptr(&d));
	bytes b = {0};
	for (;;) {
		static u8 part[4096];
		desc to = {ptr(part), sizeof part};
		u64 n = host_blob_read(fd, ptr(&to));
		put(&b, part, (u32)n);
		if (n < sizeof part)
			break;
	}
	host_blob_close(fd, ptr(&d));
	answer_text(got(b));
}

// set_elsewhere calls "set" of another context.
EXPORT("set_elsewhere") set_elsewhere(void) {
	text in = input();
	hash context = base58(field(in, "context"));
	xcall call = {{ptr(context.at), 32}, describe(str("set")), describe(pair(field(in, "key"), field(in, "value")))};
	host_xcall(ptr(&call));
}

EXPORT("who") who(void) {
	bytes b = {0};
	put_str(&b, "{\"context\":\"");
	host_context_id(REGISTER);
	put_base58(&b, read_register().at);
	put_str(&b, "\",\"executor\":\"");
	host_executor_id(REGISTER);
	put_base58(&b, read_register().at);
	put_str(&b, "\"}");
	answer_ok(b);
}

EXPORT("members") members(void) {
	host_members(REGISTER);
	text list = read_register();
	reader r = over(list);
	bytes b = {0};
	put_u8(&b, '[');
	for (u32 i = 0, n = read_u32(&r); i < n; i++) {
		put_str(&b, i ? ",\"" : "\"");
		put_base58(&b, read_bytes(&r, 32));
		put_u8(&b, '"');
	}
	put_u8(&b, ']');
	answer_ok(b);
}

EXPORT("add_member") add_member(void) {
	hash member = base58(field(input(), "member"));
	begin();
	desc d = {ptr(member.at), 32};
	host_add_member(ptr(&d));
	finish();
}

EXPORT("remove_member") remove_member(void) {
	hash member = base58(field(input(), "member"));
	begin();
	desc d = {ptr(member.at), 32};
	host_remove_member(ptr(&d));
	finish();
}

EXPORT("resolve") resolve(void) {
	desc alias = describe(field(input(), "alias"));
	if (!host_resolve_alias(ptr(&alias), REGISTER)) {
		answer_null();
		return;
	}
	bytes b = {0};
	put_base58(&b, read_register().at);
	answer_text(got(b));
}

EXPORT("log") method_log(void) { say(field(input(), "text")); }

EXPORT("time") method_time(void) {
	bytes b = {0};
	put_number(&b, now());
	answer_ok(b);
}

// random answers with 32 random bytes, as if they were an id.
EXPORT("random") random(void) {
	u8 id[32];
	desc to = {ptr(id), 32};
	host_random_bytes(ptr(&to));
	bytes b = {0};
	put_base58(&b, id);
	answer_text(got(b));
}

// ---- methods: what goes wrong. All of them write first where they can. ----

EXPORT("set_without_commit") set_without_commit(void) { set_and_tell(NULL); }

EXPORT("set_then_fail") set_then_fail(void) {
	set_and_tell(NULL);
	finish();
	bytes b = {0};
	put_str(&b, "{\"kind\":\"Refused\",\"data\":\"set_then_fail\"}");
	answer_err(b);
}

EXPORT("set_then_panic") set_then_panic(void) {
	set_and_tell("on_inserted");
	finish();
	PANIC(str("set_then_panic"));
}

EXPORT("set_then_trap") set_then_trap(void) {
	set_and_tell(NULL);
	finish();
	__builtin_trap();
}

EXPORT("commit_twice") commit_twice(void) {
	set_and_tell(NULL);
	finish();
	finish();
}

EXPORT("loop_forever") loop_forever(void) {
	volatile u32 n = 0;
	for (;;)
		n++;
}

static volatile u32 more = 1;

static __attribute__((noinline)) u32 deeper(u32 n) {
	u32 below = more ? deeper(n + 1) : 0;
	more = below + n; // there is something left to do here, so that it does not become a loop
	return below;
}

EXPORT("recurse_forever") recurse_forever(void) { deeper(1); }

EXPORT("eat_memory") eat_memory(void) {
	for (;;)
		*(volatile u8 *)take(1 << 20) = 1;
}

EXPORT("too_many_events") too_many_events(void) {
	for (int i = 0; i < 101; i++)
		tell("Spam", str("null"), NULL);
}

EXPORT("too_large_event") too_large_event(void) {
	tell("Spam", (text){take(16385), 16385}, NULL);
}

EXPORT("out_of_bounds") out_of_bounds(void) { host_log(0xfffffffffffffff0u); }

EXPORT("call_unknown") call_unknown(void) { host_unknown(0); }

// ---- methods: the next version ----

#ifdef V2

EXPORT("schema_info") schema_info(void) {
	open_state();
	bytes b = {0};
	put_str(&b, "{\"schema_version\":2,\"migrated_from\":");
	put_number(&b, state.migrated);
	put_u8(&b, '}');
	answer_ok(b);
}

// migrate_v1_to_v2 returns the root value as this version has it. The node puts it in place.
EXPORT("migrate_v1_to_v2") migrate_v1_to_v2(void) {
	u8 version = load_root();
	if (version != 1)
		PANIC(str("the state is not that of version 1"));
	state.migrated = version;
	bytes b = {0};
	write_root(&b);
	answer_ok(b);
}

EXPORT("migrate_and_fail") migrate_and_fail(void) {
	load_root();
	bytes b = {0};
	put_str(&b, "{\"kind\":\"Refused\",\"data\":\"migrate_and_fail\"}");
	answer_err(b);
}

#endif

// ---- methods: called by the node ----

// __calimero_sync_next applies the artifact of another node.
EXPORT("__calimero_sync_next") sync_next(void) {
	text delta = input();
	begin();
	reader r = over(delta);
	if (*read_bytes(&r, 1))
		PANIC(str("the delta does not consist of actions"));
	for (u32 n = read_u32(&r); n; n--) {
		u8 kind = *read_bytes(&r, 1);
		hash id;
		memcpy(id.at, read_bytes(&r, 32), 32);
		if (kind == ACTION_DELETE) {
			entry old;
			read_bytes(&r, 8 + 17);
			drop(id, &old);
			continue;
		}
		if (kind != ACTION_UPDATE)
			PANIC(str("the delta has an unknown action"));
		text data = read_text(&r);
		read_bytes(&r, 4 + 17);
		reader d = over(data);
		if (memcmp(id.at, root_id, 32)) {
			text key = read_text(&d);
			set(key, read_text(&d));
		} else {
			read_bytes(&d, 5);
			u64 n = read_u64(&d);
			if (n > state.handled)
				state.handled = n;
		}
	}
	finish();
}
