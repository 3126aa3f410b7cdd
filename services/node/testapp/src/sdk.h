// What the sample application needs of the host's functions (module "env"), of JSON, SHA-256, base58 and borsh.
//
// Every pointer and length is 64 bits wide on the way to the host. Memory is taken and never given back: an instance
// lives for one call.
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef __SIZE_TYPE__ usize;

#define NULL ((void *)0)
#define EXPORT(name) __attribute__((export_name(name))) void
#define IMPORT(name) __attribute__((import_module("env"), import_name(name))) extern

// ---- the host ----

typedef struct { u64 at, len; } desc;
typedef struct { desc file; u32 line, column; } location;
typedef struct { desc kind, data; } event;
typedef struct { desc context, function, params; } xcall;
typedef struct { u64 tag; desc value; } return_value;

IMPORT("panic_utf8") void host_panic(u64 message, u64 location);
IMPORT("register_len") u64 host_register_len(u64 reg);
IMPORT("read_register") u32 host_read_register(u64 reg, u64 to);
IMPORT("context_id") void host_context_id(u64 reg);
IMPORT("executor_id") void host_executor_id(u64 reg);
IMPORT("input") void host_input(u64 reg);
IMPORT("value_return") void host_value_return(u64 value);
IMPORT("log_utf8") void host_log(u64 text);
IMPORT("emit") void host_emit(u64 event);
IMPORT("emit_with_handler") void host_emit_with_handler(u64 event, u64 handler);
IMPORT("xcall") void host_xcall(u64 call);
IMPORT("commit") void host_commit(u64 root, u64 artifact);
IMPORT("storage_read") u32 host_storage_read(u64 key, u64 reg);
IMPORT("storage_write") u32 host_storage_write(u64 key, u64 value, u64 reg);
IMPORT("storage_remove") u32 host_storage_remove(u64 key, u64 reg);
IMPORT("private_storage_read") u32 host_private_read(u64 key, u64 reg);
IMPORT("private_storage_write") u32 host_private_write(u64 key, u64 value);
IMPORT("random_bytes") void host_random_bytes(u64 to);
IMPORT("time_now") void host_time_now(u64 to);
IMPORT("blob_create") u64 host_blob_create(void);
IMPORT("blob_write") u64 host_blob_write(u64 fd, u64 data);
IMPORT("blob_open") u64 host_blob_open(u64 id);
IMPORT("blob_read") u64 host_blob_read(u64 fd, u64 to);
IMPORT("blob_close") u32 host_blob_close(u64 fd, u64 id);
IMPORT("context_members") void host_members(u64 reg);
IMPORT("context_resolve_alias") u32 host_resolve_alias(u64 alias, u64 reg);
IMPORT("context_add_member") void host_add_member(u64 member);
IMPORT("context_remove_member") void host_remove_member(u64 member);
IMPORT("js_crdt_map_new") u32 host_unknown(u32 reg); // this host does not have it

static inline u64 ptr(const void *p) { return (u64)(usize)p; }

// ---- memory ----

void *memcpy(void *to, const void *from, usize n) {
	u8 *t = to;
	const u8 *f = from;
	for (; n >= 8; n -= 8, t += 8, f += 8)
		__builtin_memcpy(t, f, 8);
	for (; n; n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int v, usize n) {
	u8 *t = to;
	while (n--)
		*t++ = (u8)v;
	return to;
}

int memcmp(const void *a, const void *b, usize n) {
	const u8 *x = a, *y = b;
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}

// ---- texts and panics ----

typedef struct { const u8 *at; u32 len; } text;

static u32 length(const char *s) {
	u32 n = 0;
	while (s[n])
		n++;
	return n;
}

static text str(const char *s) { return (text){(const u8 *)s, length(s)}; }
static desc describe(text t) { return (desc){ptr(t.at), t.len}; }

static __attribute__((noreturn)) void panic_at(text message, const char *file, u32 line) {
	desc m = describe(message);
	location at = {describe(str(file)), line, 1};
	host_panic(ptr(&m), ptr(&at));
	__builtin_unreachable();
}

#define PANIC(message) panic_at(message, "kv_store.c", __LINE__)

extern u8 __heap_base;
static u8 *heap, *heap_end;

static void *take(u32 n) {
	if (!heap) {
		heap = &__heap_base;
		heap_end = (u8 *)(__builtin_wasm_memory_size(0) << 16);
	}
	heap = (u8 *)(((usize)heap + 7) & ~(usize)7);
	if ((usize)(heap_end - heap) < n) {
		u32 pages = (n >> 16) + 1;
		if (__builtin_wasm_memory_grow(0, pages) == (usize)-1)
			__builtin_trap();
		heap_end += pages << 16;
	}
	u8 *p = heap;
	heap += n;
	return p;
}

// ---- bytes that grow ----

typedef struct { u8 *at; u32 len, room; } bytes;

static void put(bytes *b, const void *from, u32 n) {
	if (b->room - b->len < n) {
		u32 room = (b->len + n) * 2 + 64;
		u8 *at = take(room);
		memcpy(at, b->at, b->len);
		b->at = at;
		b->room = room;
	}
	memcpy(b->at + b->len, from, n);
	b->len += n;
}

static void put_u8(bytes *b, u8 v) { put(b, &v, 1); }
static void put_u32(bytes *b, u32 v) { put(b, &v, 4); }
static void put_u64(bytes *b, u64 v) { put(b, &v, 8); }
static void put_str(bytes *b, const char *s) { put(b, s, length(s)); }
static text got(bytes b) { return (text){b.at, b.len}; }

// put_text appends a text as borsh does: its length and its bytes.
static void put_text(bytes *b, text t) {
	put_u32(b, t.len);
	put(b, t.at, t.len);
}

// reader reads borsh; the input is the application's own, so that a short one is a mistake.
typedef struct { const u8 *at, *end; } reader;

static const u8 *read_bytes(reader *r, u32 n) {
	if ((usize)(r->end - r->at) < n)
		PANIC(str("the stored state is damaged"));
	const u8 *p = r->at;
	r->at += n;
	return p;
}

static u32 read_u32(reader *r) {
	u32 v;
	__builtin_memcpy(&v, read_bytes(r, 4), 4);
	return v;
}

static u64 read_u64(reader *r) {
	u64 v;
	__builtin_memcpy(&v, read_bytes(r, 8), 8);
	return v;
}

static text read_text(reader *r) {
	u32 n = read_u32(r);
	return (text){read_bytes(r, n), n};
}

static reader over(text t) { return (reader){t.at, t.at + t.len}; }

// ---- calls of the host ----

enum { REGISTER = 1 };

static text read_register(void) {
	u64 n = host_register_len(REGISTER);
	u8 *at = take((u32)n);
	desc to = {ptr(at), n};
	if (!host_read_register(REGISTER, ptr(&to)))
		PANIC(str("a register changed"));
	return (text){at, (u32)n};
}

static text input(void) {
	host_input(REGISTER);
	return read_register();
}

static void answer(u64 tag, text value) {
	return_value v = {tag, describe(value)};
	host_value_return(ptr(&v));
}

static void answer_ok(bytes b) { answer(0, got(b)); }
static void answer_err(bytes b) { answer(1, got(b)); }

static u64 now(void) {
	u64 t = 0;
	desc to = {ptr(&t), 8};
	host_time_now(ptr(&to));
	return t;
}

// ---- SHA-256 (FIPS 180-4) ----

static const u32 round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
	0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
	0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
	0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
	0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

typedef struct { u8 at[32]; } hash;

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

static void compress(u32 s[8], const u8 *block) {
	u32 w[64];
	for (int i = 0; i < 16; i++, block += 4)
		w[i] = (u32)block[0] << 24 | (u32)block[1] << 16 | (u32)block[2] << 8 | block[3];
	for (int i = 16; i < 64; i++) {
		u32 a = w[i - 15], b = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] + (ROTATE(a, 7) ^ ROTATE(a, 18) ^ a >> 3) + (ROTATE(b, 17) ^ ROTATE(b, 19) ^ b >> 10);
	}
	u32 a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
	for (int i = 0; i < 64; i++) {
		u32 t = h + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
		u32 u = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		h = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + u;
	}
	s[0] += a, s[1] += b, s[2] += c, s[3] += d, s[4] += e, s[5] += f, s[6] += g, s[7] += h;
}

static hash sha256(text t) {
	u32 s[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	const u8 *p = t.at;
	u32 n = t.len;
	for (; n >= 64; n -= 64, p += 64)
		compress(s, p);
	u8 last[128] = {0};
	memcpy(last, p, n);
	last[n] = 0x80;
	u32 size = n < 56 ? 64 : 128;
	u64 bits = (u64)t.len * 8;
	for (int i = 0; i < 8; i++)
		last[size - 1 - (u32)i] = (u8)(bits >> 8 * i);
	for (u32 i = 0; i < size; i += 64)
		compress(s, last + i);
	hash h;
	for (int i = 0; i < 32; i++)
		h.at[i] = (u8)(s[i / 4] >> (24 - 8 * (i % 4)));
	return h;
}

// ---- base58 of 32 bytes (Bitcoin's alphabet) ----

static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

static void put_base58(bytes *out, const u8 *id) {
	u8 digits[44] = {0};
	u32 n = 0, zeros = 0;
	while (zeros < 32 && !id[zeros])
		zeros++;
	for (u32 i = zeros; i < 32; i++) {
		u32 carry = id[i];
		for (u32 j = 0; j < n; j++) {
			carry += (u32)digits[j] << 8;
			digits[j] = (u8)(carry % 58);
			carry /= 58;
		}
		for (; carry; carry /= 58)
			digits[n++] = (u8)(carry % 58);
	}
	while (zeros--)
		put_u8(out, '1');
	while (n--)
		put_u8(out, (u8)alphabet[digits[n]]);
}

static hash base58(text t) {
	hash id = {{0}};
	for (u32 i = 0; i < t.len; i++) {
		u32 carry = 0;
		while (carry < 58 && alphabet[carry] != (char)t.at[i])
			carry++;
		if (carry == 58)
			PANIC(str("not an id in base58"));
		for (int j = 31; j >= 0; j--) {
			carry += 58 * (u32)id.at[j];
			id.at[j] = (u8)carry;
			carry >>= 8;
		}
		if (carry)
			PANIC(str("not an id in base58"));
	}
	return id;
}

// ---- JSON ----

static void put_json(bytes *b, text t) {
	static const char hex[] = "0123456789abcdef";
	put_u8(b, '"');
	for (u32 i = 0; i < t.len; i++) {
		u8 c = t.at[i];
		if (c == '"' || c == '\\')
			put_u8(b, '\\');
		if (c < 0x20) {
			put_str(b, "\\u00");
			put_u8(b, (u8)hex[c >> 4]);
			c = (u8)hex[c & 15];
		}
		put_u8(b, c);
	}
	put_u8(b, '"');
}

static void put_number(bytes *b, u64 v) {
	u8 digits[20];
	u32 n = 0;
	do
		digits[n++] = (u8)('0' + v % 10);
	while (v /= 10);
	while (n)
		put_u8(b, digits[--n]);
}

static __attribute__((noreturn)) void bad_json(const char *why) {
	bytes b = {0};
	put_str(&b, "Failed to deserialize input from JSON: ");
	put_str(&b, why);
	PANIC(got(b));
}

static void skip_space(reader *r) {
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static u8 peek(reader *r) {
	skip_space(r);
	return r->at < r->end ? *r->at : 0;
}

static void expect(reader *r, u8 c) {
	if (peek(r) != c)
		bad_json("it is not an object");
	r->at++;
}

static u32 hex4(reader *r) {
	u32 v = 0;
	for (int i = 0; i < 4; i++, r->at++) {
		u8 c = r->at < r->end ? *r->at : 0;
		u32 digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : 16;
		if (digit == 16)
			bad_json("a character is not written as JSON writes it");
		v = v << 4 | digit;
	}
	return v;
}

static void put_rune(bytes *b, u32 c) {
	if (c < 0x80) {
		put_u8(b, (u8)c);
	} else if (c < 0x800) {
		put_u8(b, (u8)(0xc0 | c >> 6));
		put_u8(b, (u8)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		put_u8(b, (u8)(0xe0 | c >> 12));
		put_u8(b, (u8)(0x80 | (c >> 6 & 63)));
		put_u8(b, (u8)(0x80 | (c & 63)));
	} else {
		put_u8(b, (u8)(0xf0 | c >> 18));
		put_u8(b, (u8)(0x80 | (c >> 12 & 63)));
		put_u8(b, (u8)(0x80 | (c >> 6 & 63)));
		put_u8(b, (u8)(0x80 | (c & 63)));
	}
}

static void read_escape(reader *r, bytes *b) {
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	u8 c = *read_bytes(r, 1);
	if (c == 'u') {
		u32 rune = hex4(r);
		if (rune >= 0xd800 && rune < 0xdc00 && r->end - r->at > 6 && r->at[0] == '\\' && r->at[1] == 'u') {
			r->at += 2;
			u32 low = hex4(r);
			rune = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((rune & 0x3ff) << 10 | (low & 0x3ff)) : 0xfffd;
		}
		put_rune(b, rune >= 0xd800 && rune < 0xe000 ? 0xfffd : rune);
		return;
	}
	for (u32 i = 0; names[i]; i++)
		if (names[i] == (char)c) {
			put_u8(b, (u8)values[i]);
			return;
		}
	bad_json("a character is not written as JSON writes it");
}

static text read_json(reader *r) {
	bytes b = {0};
	expect(r, '"');
	for (;;) {
		if (r->at == r->end)
			bad_json("a text has no end");
		u8 c = *r->at++;
		if (c == '"')
			return got(b);
		if (c == '\\')
			read_escape(r, &b);
		else
			put_u8(&b, c);
	}
}

// skip_json passes over a value of any kind.
static void skip_json(reader *r) {
	u32 depth = 0;
	do {
		u8 c = peek(r);
		if (!c)
			bad_json("it has no end");
		if (c == '"') {
			read_json(r);
			continue;
		}
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		r->at++;
		if (depth || c == '}' || c == ']')
			continue;
		while (r->at < r->end && *r->at != ',' && *r->at != '}' && *r->at != ']' && *r->at > ' ')
			r->at++;
	} while (depth);
}

// field returns a member of the input, which must be a text.
static text field(text object, const char *name) {
	reader r = over(object);
	expect(&r, '{');
	while (peek(&r) != '}') {
		text key = read_json(&r);
		expect(&r, ':');
		u8 c = peek(&r);
		if (key.len == length(name) && !memcmp(key.at, name, key.len)) {
			if (c != '"') {
				bytes b = {0};
				put_str(&b, "invalid type: expected a string for `");
				put_str(&b, name);
				put_str(&b, "`");
				put_u8(&b, 0);
				bad_json((const char *)b.at);
			}
			return read_json(&r);
		}
		skip_json(&r);
		if (peek(&r) == ',')
			r.at++;
	}
	bytes b = {0};
	put_str(&b, "missing field `");
	put_str(&b, name);
	put_str(&b, "`");
	put_u8(&b, 0);
	bad_json((const char *)b.at);
}
