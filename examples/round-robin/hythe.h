// Hythe policies in C: the contract hythe:policy@0.1.0 for wasm32, without a C library.
//
// A policy is a pure function. It imports nothing, and lives for one call: memory is never given
// back. Copy this file beside your source, include it in that one source, and define what you
// export:
//
//     HYTHE_DESCRIBE hythe_description *describe(void);                      // always
//     HYTHE_SELECT hythe_answer *select(const hythe_selection *asked);       // and at least
//     HYTHE_DERIVE hythe_answer *derive(const hythe_derivation *asked);      // one of
//     HYTHE_REVIEW hythe_answer *review(int64_t now, HYTHE_REVIEWED);        // these three
//
// The names of the functions do not matter, the macros in front of them do: they export them under
// the names of the contract, from which `hythe plugin encode` knows what the module is.
//
// The types are the contract's in the layout of the canonical ABI:
// https://github.com/WebAssembly/component-model/blob/main/design/mvp/CanonicalABI.md
// The contract itself, with what each field means, is wit/policy.wit.

#ifndef HYTHE_H
#define HYTHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if !defined(__wasm32__)
#error "compile for WebAssembly: --target=wasm32-freestanding"
#endif

#define HYTHE_EXPORT(name) __attribute__((export_name(name)))
#define HYTHE_DESCRIBE HYTHE_EXPORT("hythe:policy/info@0.1.0#describe")
#define HYTHE_DERIVE HYTHE_EXPORT("hythe:policy/key-derivation@0.1.0#derive")
#define HYTHE_SELECT HYTHE_EXPORT("hythe:policy/port-selection@0.1.0#select")
#define HYTHE_REVIEW HYTHE_EXPORT("hythe:policy/cleanup@0.1.0#review")

// What may stay unused, as every policy needs another part of this file.
#define HYTHE_FN static inline __attribute__((unused))

// ---- Types ----------------------------------------------------------------------------

// Text in UTF-8, or a path, which is any bytes: `length` of them, and no zero at the end.
typedef struct {
    const char *bytes;
    size_t length;
} hythe_string;

// An option of the contract: `value` means nothing when `is_some` is false.
typedef struct {
    bool is_some;
    hythe_string value;
} hythe_maybe_string;

typedef struct {
    bool is_some;
    uint16_t value;
} hythe_maybe_port;

typedef struct {
    bool is_some;
    int64_t value;
} hythe_maybe_time;

typedef struct {
    const uint16_t *items;
    size_t length;
} hythe_ports;

// What the plugin says of itself.
typedef struct {
    hythe_string name, version, summary, options_schema;
} hythe_description;

typedef uint8_t hythe_scope;
enum { HYTHE_DIRECTORY, HYTHE_PROJECT, HYTHE_SERVICE };

// A git checkout.
typedef struct {
    hythe_string root;
    hythe_maybe_string repository, name, branch;
    bool linked;
} hythe_checkout;

typedef struct {
    bool is_some;
    hythe_checkout value;
} hythe_maybe_checkout;

// What a key is derived from.
typedef struct {
    hythe_scope scope;
    hythe_string service, directory;
    hythe_maybe_checkout checkout;
    hythe_maybe_string project;
    hythe_string options;
} hythe_derivation;

// An inclusive range of ports.
typedef struct {
    uint16_t first, last;
} hythe_range;

// What a port is selected for.
typedef struct {
    hythe_string key, service;
    hythe_maybe_string project, branch;
    hythe_range allowed;
    hythe_ports preferred, reserved;
    hythe_maybe_port latest;
    hythe_ports offsets;
    hythe_string options;
} hythe_selection;

typedef uint8_t hythe_lease;
enum { HYTHE_PERSISTENT, HYTHE_EPHEMERAL };
typedef uint8_t hythe_presence;
enum { HYTHE_PRESENT, HYTHE_GONE, HYTHE_PRESENCE_UNKNOWN };
typedef uint8_t hythe_liveness;
enum { HYTHE_UNOWNED, HYTHE_ALIVE, HYTHE_DEAD, HYTHE_LIVENESS_UNKNOWN };
typedef uint8_t hythe_listening;
enum { HYTHE_NONE, HYTHE_MINE, HYTHE_FOREIGN, HYTHE_LISTENING_UNKNOWN };

// A reservation as it was observed just now. Times are seconds of Unix time.
typedef struct {
    uint16_t port;
    hythe_string key;
    hythe_scope scope;
    hythe_string service, directory;
    hythe_presence directory_presence;
    hythe_maybe_string project, task, agent;
    hythe_lease lease;
    hythe_liveness owner;
    hythe_listening listening;
    int64_t created_at, last_used_at;
    hythe_maybe_time expires_at;
} hythe_reservation;

// The arguments of `review` after the time. They are few enough to be passed one by one.
#define HYTHE_REVIEWED \
    const hythe_reservation *reservations, size_t count, const char *options, size_t options_length

typedef uint8_t hythe_ruling;
enum { HYTHE_PASS, HYTHE_KEEP, HYTHE_RELEASE };

// What a cleanup policy says of one reservation; only a release has a reason.
typedef struct {
    hythe_ruling ruling;
    hythe_string reason;
} hythe_verdict;

// What a policy answers: a key, port ranges or verdicts, or the reason of its refusal. Made by
// `hythe_key`, `hythe_propose`, `hythe_judge` and `hythe_refuse`.
typedef struct {
    bool is_error;
    const void *items;
    size_t length;
} hythe_answer;

#define HYTHE_LAYOUT(type, size, field, offset)                         \
    _Static_assert(sizeof(type) == (size), #type " has another size"); \
    _Static_assert(offsetof(type, field) == (offset), #type " lies otherwise")
HYTHE_LAYOUT(hythe_description, 32, options_schema, 24);
HYTHE_LAYOUT(hythe_checkout, 48, linked, 44);
HYTHE_LAYOUT(hythe_derivation, 92, checkout, 20);
HYTHE_LAYOUT(hythe_derivation, 92, options, 84);
HYTHE_LAYOUT(hythe_selection, 80, allowed, 40);
HYTHE_LAYOUT(hythe_selection, 80, latest, 60);
HYTHE_LAYOUT(hythe_selection, 80, options, 72);
HYTHE_LAYOUT(hythe_reservation, 112, directory_presence, 32);
HYTHE_LAYOUT(hythe_reservation, 112, lease, 72);
HYTHE_LAYOUT(hythe_reservation, 112, expires_at, 96);
HYTHE_LAYOUT(hythe_verdict, 12, reason, 4);
HYTHE_LAYOUT(hythe_answer, 12, items, 4);
#undef HYTHE_LAYOUT

// ---- Memory ---------------------------------------------------------------------------

// The compiler may call these four for copies, zeroes and comparisons.
void *memcpy(void *restrict to, const void *restrict from, size_t length) {
    for (size_t at = 0; at < length; at++) ((char *)to)[at] = ((const char *)from)[at];
    return to;
}

void *memset(void *to, int value, size_t length) {
    for (size_t at = 0; at < length; at++) ((char *)to)[at] = (char)value;
    return to;
}

// The two may overlap.
void *memmove(void *to, const void *from, size_t length) {
    if ((uintptr_t)to <= (uintptr_t)from) {
        for (size_t at = 0; at < length; at++) ((char *)to)[at] = ((const char *)from)[at];
    } else {
        for (size_t at = length; at > 0; at--) ((char *)to)[at - 1] = ((const char *)from)[at - 1];
    }
    return to;
}

int memcmp(const void *one, const void *other, size_t length) {
    const unsigned char *ones = one, *others = other;
    for (size_t at = 0; at < length; at++)
        if (ones[at] != others[at]) return ones[at] < others[at] ? -1 : 1;
    return 0;
}

// Where the linker has put everything else.
extern char __heap_base;

// `size` bytes of any content, aligned to `align`, a power of two. The end of memory is a trap.
HYTHE_FN void *hythe_allocate(size_t align, size_t size) {
    static uintptr_t next;
    if (!next) next = (uintptr_t)&__heap_base;
    uintptr_t start = (next + align - 1) & ~(uintptr_t)(align - 1);
    uintptr_t end;
    if (start < next || __builtin_add_overflow(start, size, &end)) __builtin_trap();
    size_t page = 65536, pages = end / page + (end % page != 0);
    size_t there = __builtin_wasm_memory_size(0);
    if (pages > there && __builtin_wasm_memory_grow(0, pages - there) == SIZE_MAX) __builtin_trap();
    next = end;
    return (void *)start;
}

#define HYTHE_NEW(type, count) ((type *)hythe_allocate(_Alignof(type), sizeof(type) * (count)))

// The engine calls this for room for the arguments.
HYTHE_EXPORT("cabi_realloc")
void *hythe_realloc(void *old, size_t old_size, size_t align, size_t size) {
    if (size <= old_size) return old;
    void *fresh = hythe_allocate(align, size);
    return memcpy(fresh, old, old_size);
}

// ---- Text -----------------------------------------------------------------------------

// A literal as a string.
#define HYTHE_TEXT(literal) ((hythe_string){ "" literal, sizeof(literal) - 1 })

HYTHE_FN bool hythe_equal(hythe_string one, hythe_string other) {
    if (one.length != other.length) return false;
    for (size_t at = 0; at < one.length; at++)
        if (one.bytes[at] != other.bytes[at]) return false;
    return true;
}

// Both, one after the other.
HYTHE_FN hythe_string hythe_join(hythe_string one, hythe_string other) {
    size_t length = one.length + other.length;
    char *joined = HYTHE_NEW(char, length);
    memcpy(joined, one.bytes, one.length);
    memcpy(joined + one.length, other.bytes, other.length);
    return (hythe_string){ joined, length };
}

// A number in decimal digits.
HYTHE_FN hythe_string hythe_decimal(int64_t number) {
    const size_t most = sizeof("-9223372036854775808");
    char *end = HYTHE_NEW(char, most) + most, *digits = end;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do *--digits = (char)('0' + rest % 10);
    while (rest /= 10);
    if (number < 0) *--digits = '-';
    return (hythe_string){ digits, (size_t)(end - digits) };
}

// Text that stands for exactly these bytes, because a path may be no UTF-8: printable ASCII as it
// is, `%` and everything else as `%XX`.
HYTHE_FN hythe_string hythe_escaped(hythe_string bytes) {
    char *text = HYTHE_NEW(char, 3 * bytes.length);
    size_t length = 0;
    for (size_t at = 0; at < bytes.length; at++) {
        uint8_t byte = (uint8_t)bytes.bytes[at];
        if (byte >= ' ' && byte <= '~' && byte != '%') {
            text[length++] = (char)byte;
        } else {
            text[length++] = '%';
            text[length++] = "0123456789ABCDEF"[byte >> 4];
            text[length++] = "0123456789ABCDEF"[byte & 15];
        }
    }
    return (hythe_string){ text, length };
}

// 32 bits that look random and depend on nothing but the text: FNV-1a
// (http://www.isthe.com/chongo/tech/comp/fnv/), then the finalizer of MurmurHash3, because the low
// bits of FNV alone follow the last byte closely.
HYTHE_FN uint32_t hythe_hash(hythe_string text) {
    uint32_t hash = 0x811c9dc5;
    for (size_t at = 0; at < text.length; at++)
        hash = (hash ^ (uint8_t)text.bytes[at]) * 0x01000193;
    hash = (hash ^ hash >> 16) * 0x85ebca6b;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35;
    return hash ^ hash >> 16;
}

// ---- Options --------------------------------------------------------------------------
//
// The options are a JSON object that the engine has written and checked against the plugin's
// schema: without spaces, each name once, each value of its type. These functions rely on that.

// Where the JSON value that begins at `at` ends.
HYTHE_FN size_t hythe_json_end(hythe_string json, size_t at) {
    size_t depth = 0;
    bool quoted = false;
    for (; at < json.length; at++) {
        char c = json.bytes[at];
        if (quoted) {
            if (c == '\\') at++;
            else if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']')) {
            break;
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return at < json.length ? at : json.length;
}

// The entry `name` of a JSON object as JSON, empty when there is none.
HYTHE_FN hythe_string hythe_json_entry(hythe_string object, hythe_string name) {
    for (size_t at = 1; at < object.length;) {
        size_t colon = hythe_json_end(object, at), end = hythe_json_end(object, colon + 1);
        if (colon + 1 >= object.length) break;
        hythe_string found = { object.bytes + at + 1, colon - at - 2 };
        if (hythe_equal(found, name))
            return (hythe_string){ object.bytes + colon + 1, end - colon - 1 };
        at = end + 1;
    }
    return (hythe_string){ "", 0 };
}

// The integer that is the option `name`, or `otherwise`.
HYTHE_FN int64_t hythe_integer(hythe_string options, hythe_string name, int64_t otherwise) {
    hythe_string json = hythe_json_entry(options, name);
    if (json.length == 0) return otherwise;
    bool negative = json.bytes[0] == '-';
    uint64_t number = 0;
    for (size_t at = negative; at < json.length; at++)
        number = number * 10 + (uint64_t)(json.bytes[at] - '0');
    return (int64_t)(negative ? -number : number);
}

// Whether the option `name` is true, or `otherwise`.
HYTHE_FN bool hythe_boolean(hythe_string options, hythe_string name, bool otherwise) {
    hythe_string json = hythe_json_entry(options, name);
    return json.length == 0 ? otherwise : json.bytes[0] == 't';
}

// The text that is the option `name`, or `otherwise`. Its escapes are undone; of those by number,
// the engine only writes the ones of control characters.
HYTHE_FN hythe_string hythe_text(hythe_string options, hythe_string name, hythe_string otherwise) {
    hythe_string json = hythe_json_entry(options, name);
    if (json.length == 0) return otherwise;
    char *text = HYTHE_NEW(char, json.length);
    size_t length = 0;
    for (size_t at = 1; at + 1 < json.length; at++) {
        char c = json.bytes[at];
        if (c == '\\') {
            c = json.bytes[++at];
            if (c == 'u') {
                char high = json.bytes[at + 3], low = json.bytes[at + 4];
                c = (char)((high - '0') * 16 + (low <= '9' ? low - '0' : (low | 32) - 'a' + 10));
                at += 4;
            } else {
                c = c == 'n'   ? '\n'
                    : c == 't' ? '\t'
                    : c == 'r' ? '\r'
                    : c == 'b' ? '\b'
                    : c == 'f' ? '\f'
                               : c;
            }
        }
        text[length++] = c;
    }
    return (hythe_string){ text, length };
}

// ---- Answers --------------------------------------------------------------------------

HYTHE_FN hythe_answer *hythe_answer_of(bool is_error, const void *items, size_t length) {
    hythe_answer *answer = HYTHE_NEW(hythe_answer, 1);
    *answer = (hythe_answer){ is_error, items, length };
    return answer;
}

// The answer of `derive`: 1 to 16,384 bytes of UTF-8 without control characters.
HYTHE_FN hythe_answer *hythe_key(hythe_string key) {
    return hythe_answer_of(false, key.bytes, key.length);
}

// The answer of `select`: the ranges in the order in which they are to be tried, at most 4,096.
HYTHE_FN hythe_answer *hythe_propose(const hythe_range *ranges, size_t count) {
    return hythe_answer_of(false, ranges, count);
}

// The answer of `review`: one verdict for each reservation, in the same order.
HYTHE_FN hythe_answer *hythe_judge(const hythe_verdict *verdicts, size_t count) {
    return hythe_answer_of(false, verdicts, count);
}

// The answer of a policy that cannot decide: the operation fails with this reason.
HYTHE_FN hythe_answer *hythe_refuse(hythe_string reason) {
    return hythe_answer_of(true, reason.bytes, reason.length);
}

#endif
