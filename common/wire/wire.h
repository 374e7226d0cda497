/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages between a client and a memory server (docs/protocol.md).
 *
 * Each begins with the same 24 bytes, little-endian:
 *
 *	0 magic "RMEM"   4 version   6 type   8 payload bytes
 *	12 CRC-32C of the other 20   16 request number, repeated by the answer
 *
 * Decode, then commit: wire_decode() looks at every byte of a message before
 * it says yes, and touches nothing but @out. Knows no sockets.
 */
#ifndef RMEM_WIRE_WIRE_H
#define RMEM_WIRE_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC	     0x4d454d52U /* "RMEM" */
#define WIRE_VERSION_MIN     1
#define WIRE_VERSION_MAX     1
#define WIRE_HEADER_BYTES    24
#define WIRE_MAX_BYTES	     512 /* of one whole message */
#define WIRE_AUTH_MAX_BYTES  256
#define WIRE_NAME_MAX_BYTES  64
#define WIRE_TEXT_MAX_BYTES  256
#define WIRE_LEASE_MAX_SLABS 16 /* in one LEASE: its answers fit a socket's buffer */
#define WIRE_SLAB_MAX_BYTES  (1ULL << 30)
#define WIRE_MAX_STORE_BYTES (1ULL << 60)
#define WIRE_PAGE_BYTES	     4096ULL

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_WELCOME,
	WIRE_LEASE,
	WIRE_LEASED,
	WIRE_STATUS,
	WIRE_STATUS_REPLY,
	WIRE_BYE,
	WIRE_ERROR,
};

/* How the client will reach its slabs. */
enum wire_access {
	WIRE_ACCESS_DESCRIPTOR = 1, /* a descriptor comes beside each LEASED */
};

enum wire_auth { WIRE_AUTH_NONE = 0 };

/* Any other non-zero code is a refusal whose text says why. */
enum wire_error_code {
	WIRE_ERR_VERSION = 1, /* no common version */
	WIRE_ERR_MALFORMED,   /* not a message, or one that contradicts itself */
	WIRE_ERR_TYPE,	      /* a type that this version does not know */
	WIRE_ERR_SEQUENCE,    /* a known message at the wrong time */
	WIRE_ERR_ACCESS,      /* this way of access is not served here */
	WIRE_ERR_AUTH,	      /* this authentication is not served here, or failed */
	WIRE_ERR_DENIED,      /* this user may not */
	WIRE_ERR_CAPACITY,    /* free_bytes, capacity_bytes say how it stands */
	WIRE_ERR_TOO_MANY_CLIENTS,
	WIRE_ERR_DRAINING, /* the server is being stopped */
	WIRE_ERR_INTERNAL, /* the server's own trouble */
};

struct wire_hello {
	uint16_t version_min, version_max;
	uint16_t access;       /* enum wire_access */
	uint64_t wanted_bytes; /* reserved for this session, all or nothing; 0: just looking */
	uint16_t auth_method;
	uint16_t auth_bytes;
	uint8_t auth[WIRE_AUTH_MAX_BYTES];
	char name[WIRE_NAME_MAX_BYTES + 1]; /* for the server's log */
};

struct wire_welcome {
	uint16_t version; /* of every message from here on */
	uint64_t session;
	uint64_t slab_bytes;
	uint64_t capacity_bytes;
	uint64_t free_bytes; /* after this session's reservation */
};

struct wire_lease {
	uint32_t nr_slabs; /* answered by as many LEASED, in order */
};

struct wire_leased {
	uint16_t access;
	uint32_t key;	  /* 0 with a descriptor */
	uint64_t address; /* 0 with a descriptor */
	uint64_t slab;	  /* never the same twice in a server's life */
	uint64_t bytes;
};

struct wire_status_reply {
	uint64_t capacity_bytes, reserved_bytes, leased_bytes;
	uint32_t nr_clients;
};

struct wire_error {
	uint32_t code;
	uint64_t free_bytes, capacity_bytes;
	char text[WIRE_TEXT_MAX_BYTES + 1];
};

struct wire_msg {
	uint16_t version;
	uint16_t type;
	uint64_t request;
	union {
		struct wire_hello hello;
		struct wire_welcome welcome;
		struct wire_lease lease;
		struct wire_leased leased;
		struct wire_status_reply status_reply;
		struct wire_error error;
	};
};

/*
 * Writes @m into @buf (WIRE_MAX_BYTES) and returns its length. Over-long
 * texts are cut and made printable. Version 0 means WIRE_VERSION_MIN.
 */
size_t wire_encode(const struct wire_msg *m, void *buf);

/*
 * The whole message in @buf, checked to the last byte.
 *   0                 @out is valid
 *   -EBADMSG          not a message, or one that contradicts itself
 *   -EPROTONOSUPPORT  of an unknown version
 *   -EOPNOTSUPP       of an unknown type
 * @out->request is set when the header was sound, for the answer.
 */
int wire_decode(const void *buf, size_t bytes, struct wire_msg *out)
	__attribute__((warn_unused_result));

#endif
