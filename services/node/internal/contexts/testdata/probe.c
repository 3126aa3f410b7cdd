// An application for the tests of contexts: a counter, with a method for everything a call can do that a node must
// get right. The sample application of this repository is what users see; this one misbehaves on purpose.
//
//   clang --target=wasm32 -O2 -nostdlib -fno-builtin -Wl,--no-entry -Wl,--strip-all -o probe.wasm probe.c

typedef unsigned char u8;
typedef unsigned long long u64;

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define METHOD(name) __attribute__((export_name(#name))) void name(void)

struct buf { u64 ptr, len; };
struct ret { u64 tag; struct buf data; };
struct event { struct buf kind, data; };
struct xcall { struct buf context, function, params; };

IMPORT(register_len) u64 register_len(u64 reg);
IMPORT(read_register) int read_register(u64 reg, u64 to);
IMPORT(input) void input(u64 reg);
IMPORT(value_return) void value_return(u64 ret);
IMPORT(emit) void emit(u64 event);
IMPORT(emit_with_handler) void emit_with_handler(u64 event, u64 handler);
IMPORT(xcall) void xcall_(u64 call);
IMPORT(commit) void commit_(u64 root, u64 artifact);
IMPORT(storage_read) int storage_read(u64 key, u64 reg);
IMPORT(storage_write) int storage_write(u64 key, u64 value, u64 reg);
IMPORT(storage_remove) int storage_remove(u64 key, u64 reg);
IMPORT(private_storage_read) int private_read(u64 key, u64 reg);
IMPORT(private_storage_write) int private_write(u64 key, u64 value);
IMPORT(context_add_member) void add_member_(u64 key);
IMPORT(context_remove_member) void remove_member_(u64 key);
IMPORT(context_create) void create_(u64 protocol, u64 application, u64 init, u64 alias);
IMPORT(context_delete) void delete_(u64 context);
IMPORT(blob_create) u64 blob_create(void);
IMPORT(blob_write) u64 blob_write(u64 fd, u64 data);
IMPORT(blob_close) int blob_close(u64 fd, u64 id);
IMPORT(log_utf8) void log_utf8(u64 text);
IMPORT(executor_id) void executor_id(u64 reg);
IMPORT(time_now) void time_now(u64 to);
IMPORT(send_proposal) void send_proposal(u64 actions, u64 id);

static u8 text[1 << 16], number[24];
static u64 text_len;

static u64 at(const void *p) { return (u64)(unsigned long)p; }
static struct buf of(const void *p, u64 len) { struct buf b = {at(p), len}; return b; }
static u64 length(const char *s) { u64 n = 0; while (s[n]) n++; return n; }
static struct buf str(const char *s) { return of(s, length(s)); }

static void get_input(void) {
	input(1);
	text_len = register_len(1);
	if (text_len > sizeof text) __builtin_trap();
	struct buf b = of(text, text_len);
	read_register(1, at(&b));
}

static u64 get(const char *key) {
	struct buf k = str(key);
	u64 n = 0;
	struct buf to = of(&n, 8);
	if (storage_read(at(&k), 2)) read_register(2, at(&to));
	return n;
}

static void put(const char *key, u64 n) {
	struct buf k = str(key), v = of(&n, 8);
	storage_write(at(&k), at(&v), 3);
}

// The root is the sum of the counters, so that equal states have equal roots.
static void commit(void) {
	u8 root[32];
	for (int i = 0; i < 32; i++) root[i] = 0x55;
	u64 sum[3] = {get("n"), get("handled"), get("migrated")};
	for (int i = 0; i < 24; i++) root[i] = ((u8 *)sum)[i];
	struct buf r = of(root, 32), a = of(sum, 24);
	commit_(at(&r), at(&a));
}

static void give(u64 tag, struct buf b) { struct ret r = {tag, b}; value_return(at(&r)); }

static void give_number(u64 n) {
	int i = sizeof number;
	do number[--i] = '0' + n % 10; while (n /= 10);
	give(0, of(number + i, sizeof number - i));
}

// unhex reads "…" of hexadecimal digits from the input into out.
static void unhex(u8 *out) {
	get_input();
	if (text_len < 66) __builtin_trap();
	for (int i = 0; i < 32; i++) {
		u8 v = 0;
		for (int j = 0; j < 2; j++) {
			u8 c = text[1 + 2 * i + j];
			v = v * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
		}
		out[i] = v;
	}
}

METHOD(init) { put("n", 1); commit(); }
METHOD(init_fails) { put("n", 1); commit(); give(1, str("\"no\"")); }
METHOD(n) { give_number(get("n")); }
METHOD(handled) { give_number(get("handled")); }
METHOD(migrated) { give_number(get("migrated")); }
METHOD(echo) { get_input(); give(0, of(text, text_len)); }
METHOD(not_json) { give(0, str("not json")); }
METHOD(nothing) {}

METHOD(add) {
	put("n", get("n") + 1);
	commit();
	give_number(get("n"));
}

METHOD(add_without_commit) { put("n", get("n") + 1); give_number(get("n")); }
METHOD(add_and_trap) { put("n", get("n") + 1); commit(); __builtin_trap(); }
METHOD(add_and_fail) { put("n", get("n") + 1); commit(); give(1, str("{\"code\":7}")); }
METHOD(add_and_spin) { put("n", get("n") + 1); commit(); for (volatile int i = 0;; i++); }
METHOD(add_not_json) { put("n", get("n") + 1); commit(); give(0, str("{")); }
METHOD(commit_unchanged) {
	commit();
}

METHOD(commit_without_artifact) {
	put("n", get("n") + 1);
	u8 root[32] = {9};
	struct buf r = of(root, 32), a = of(root, 0);
	commit_(at(&r), at(&a));
}

METHOD(commit_zero_root) {
	put("n", get("n") + 1);
	u8 root[32] = {0};
	struct buf r = of(root, 32), a = of(root, 1);
	commit_(at(&r), at(&a));
}

static void event(const char *kind, const char *handler) {
	get_input();
	struct event e = {str(kind), of(text, text_len)};
	struct buf h = str(handler);
	if (h.len) emit_with_handler(at(&e), at(&h));
	else emit(at(&e));
}

METHOD(tell) { event("Told", ""); }
METHOD(add_and_tell) { put("n", get("n") + 1); commit(); event("Added", ""); }
METHOD(add_and_handle) { put("n", get("n") + 1); commit(); event("Added", "on_added"); }
METHOD(on_added) { put("handled", get("handled") + 1); commit(); }
METHOD(add_and_handle_forever) { put("n", get("n") + 1); commit(); event("Added", "add_and_spin"); }
METHOD(add_and_follow) { put("n", get("n") + 1); commit(); event("Added", "follow"); }

// follow appends its input to a text, so that the order of the calls is seen.
METHOD(follow) {
	static u8 all[1 << 12];
	struct buf k = str("followed"), to;
	u64 n = 0;
	if (storage_read(at(&k), 2)) {
		n = register_len(2);
		to = of(all, n);
		read_register(2, at(&to));
	}
	get_input();
	if (n + text_len > sizeof all) __builtin_trap();
	for (u64 i = 0; i < text_len; i++) all[n + i] = text[i];
	struct buf v = of(all, n + text_len);
	storage_write(at(&k), at(&v), 3);
	put("handled", get("handled") + 1);
	commit();
}

METHOD(recurse) { put("n", get("n") + 1); commit(); event("Again", "recurse"); event("Again", "recurse"); event("Again", "recurse"); }

METHOD(add_there) {
	u8 to[32];
	unhex(to);
	struct xcall x = {of(to, 32), str("add"), str("{}")};
	xcall_(at(&x));
}

METHOD(add_there_and_fail) { add_there(); give(1, str("\"no\"")); }

METHOD(add_member) { u8 k[32]; unhex(k); struct buf b = of(k, 32); add_member_(at(&b)); commit(); }
METHOD(remove_member) { u8 k[32]; unhex(k); struct buf b = of(k, 32); remove_member_(at(&b)); commit(); }

// add_member_quietly commits nothing but the member: the root as it is, and an empty artifact.
METHOD(add_member_quietly) {
	u8 k[32], root[32];
	unhex(k);
	struct buf b = of(k, 32), r = of(root, 32), a = of(root, 0);
	add_member_(at(&b));
	for (int i = 0; i < 32; i++) root[i] = 0x55;
	u64 sum[3] = {get("n"), get("handled"), get("migrated")};
	for (int i = 0; i < 24; i++) root[i] = ((u8 *)sum)[i];
	commit_(at(&r), at(&a));
}

METHOD(add_remove_add_member) { u8 k[32]; unhex(k); struct buf b = of(k, 32); add_member_(at(&b)); remove_member_(at(&b)); add_member_(at(&b)); commit(); }
METHOD(add_member_and_trap) { u8 k[32]; unhex(k); struct buf b = of(k, 32); add_member_(at(&b)); commit(); __builtin_trap(); }

METHOD(who) {
	executor_id(5);
	static u8 hex[66], key[32];
	struct buf to = of(key, 32);
	read_register(5, at(&to));
	hex[0] = hex[65] = '"';
	for (int i = 0; i < 64; i++) hex[i + 1] = "0123456789abcdef"[key[i / 2] >> (i % 2 ? 0 : 4) & 15];
	give(0, of(hex, 66));
}

METHOD(say) { get_input(); struct buf b = of(text, text_len), c = str("and more"); log_utf8(at(&b)); log_utf8(at(&c)); give(0, str("1")); }
METHOD(say_and_trap) { get_input(); struct buf b = of(text, text_len); log_utf8(at(&b)); __builtin_trap(); }
METHOD(say_and_fail) { get_input(); struct buf b = of(text, text_len); log_utf8(at(&b)); give(1, str("\"no\"")); }

METHOD(add_and_tell_time) { u64 t; struct buf b = of(&t, 8); time_now(at(&b)); put("n", get("n") + 1); commit(); give_number(t); }

METHOD(create_another) {
	u8 app[32];
	unhex(app);
	struct buf protocol = str("near"), a = of(app, 32), i = str("{}"), name = str("made by an application");
	create_(at(&protocol), at(&a), at(&i), at(&name));
	commit();
}

METHOD(delete_another) { u8 k[32]; unhex(k); struct buf b = of(k, 32); delete_(at(&b)); commit(); }

METHOD(propose) {
	u8 id[32];
	struct buf a = str("x"), i = of(id, 32);
	send_proposal(at(&a), at(&i));
	put("n", get("n") + 1);
	commit();
}

METHOD(keep_private) {
	get_input();
	struct buf k = str("p"), v = of(text, text_len);
	private_write(at(&k), at(&v));
	commit();
}

METHOD(kept_private) {
	struct buf k = str("p");
	if (!private_read(at(&k), 4)) return;
	struct buf to = of(text, register_len(4));
	read_register(4, at(&to));
	give(0, to);
}

static void blob(void) {
	get_input();
	struct buf data = of(text, text_len);
	static u8 id[32];
	struct buf to = of(id, 32);
	u64 fd = blob_create();
	blob_write(fd, at(&data));
	blob_close(fd, at(&to));
}

METHOD(make_blob) { blob(); put("n", get("n") + 1); commit(); }
METHOD(make_blob_and_trap) { blob(); put("n", get("n") + 1); commit(); __builtin_trap(); }

METHOD(migrate) { put("migrated", 1); commit(); }
METHOD(migrate_fails) { put("migrated", 1); commit(); give(1, str("\"cannot\"")); }
METHOD(migrate_traps) { put("migrated", 1); commit(); __builtin_trap(); }
METHOD(migrate_nothing) {}
METHOD(migrate_root) { give(0, str("the new root")); }

// put_raw writes an entry: the input is hexadecimal, key and value divided by a colon.
METHOD(put_raw) {
	get_input();
	static u8 bytes[1 << 15];
	u64 n = 0, key = 0;
	for (u64 i = 1; i + 1 < text_len; i++) {
		if (text[i] == ':') { key = n; continue; }
		u8 v = 0;
		for (int j = 0; j < 2; j++, i++) v = v * 16 + (text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
		i--;
		bytes[n++] = v;
	}
	struct buf k = of(bytes, key), v = of(bytes + key, n - key);
	storage_write(at(&k), at(&v), 3);
	put("n", get("n") + 1);
	commit();
}

// set_root commits a root of the client's choice.
METHOD(set_root) {
	u8 root[32];
	unhex(root);
	struct buf r = of(root, 32);
	commit_(at(&r), at(&r));
}
