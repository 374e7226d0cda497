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
#define WIRE_TOKEN_BYTES     16
#define WIRE_RUN_MAX_PAGES   64 /* in one READ or WRITE */

enum wire_type {
	WIRE_HELLO = 1,
	WIRE_WELCOME,
	WIRE_LEASE,
	WIRE_LEASED,
	WIRE_STATUS,
	WIRE_STATUS_REPLY,
	WIRE_BYE,
	WIRE_ERROR,
	WIRE_JOIN,
	WIRE_JOINED,
	WIRE_READ,
	WIRE_DATA,
	WIRE_WRITE,
	WIRE_WRITTEN,
};

/* How the client will reach its slabs. */
enum wire_access {
	WIRE_ACCESS_DESCRIPTOR = 1, /* a descriptor comes beside each LEASED */
	WIRE_ACCESS_MESSAGES,	    /* by READ and WRITE */
	WIRE_ACCESS_RDMA,	    /* by the key and address that each LEASED says */
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
	WIRE_ERR_RANGE,	   /* beyond the end of that slab */
	WIRE_ERR_STALE,	   /* a slab or session that has ended, or of another life of the server */
};

#define WIRE_MAX_PATIENCE_S 86400U

struct wire_hello {
	uint16_t version_min, version_max;
	uint16_t access; /* enum wire_access */
	uint32_t
		patience_s; /* the session outlives a silence so long; 0: the usual half a minute */
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
	uint64_t free_bytes;		 /* after this session's reservation */
	uint8_t token[WIRE_TOKEN_BYTES]; /* to join it by; zeros where nobody can */
};

struct wire_lease {
	uint32_t nr_slabs; /* answered by as many LEASED, in order */
};

struct wire_leased {
	uint16_t access;
	uint32_t key;	  /* by RDMA: for the connection that it is said on; else 0 */
	uint64_t address; /* by RDMA: of its first byte; else 0 */
	uint64_t slab;	  /* the server's epoch, then never the same twice in its life */
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

/*
 * Also what a connection by RDMA is asked for with: session 0 is a new one, which HELLO is
 * to begin. Its request is the number of the connection in its session, 0 or 1: one that
 * broke is replaced.
 */
struct wire_join {
	uint64_t session;
	uint8_t token[WIRE_TOKEN_BYTES];
};

/*
 * Pages of one slab that follow each other: of READ and WRITE. Behind a WRITE come
 * its pages as they are, and behind a DATA those that were asked for. They are no
 * part of the message.
 */
struct wire_run {
	uint64_t slab;
	uint64_t off_bytes; /* in the slab */
	uint32_t nr_pages;  /* 1 to WIRE_RUN_MAX_PAGES */
};

struct wire_data {
	uint32_t nr_pages; /* as asked */
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
		struct wire_join join;
		struct wire_run run;
		struct wire_data data;
	};
};

/*
 * Writes @m into @buf (WIRE_MAX_BYTES) and returns its length. Over-long
 * texts are cut and made printable. Version 0 means WIRE_VERSION_MIN.
 */
size_t wire_encode(const struct wire_msg *m, void *buf);

/* The lengths of these never change, so that a stream can be read ahead. */
#define WIRE_RUN_BYTES	   (WIRE_HEADER_BYTES + 24)
#define WIRE_DATA_BYTES	   (WIRE_HEADER_BYTES + 8)
#define WIRE_WRITTEN_BYTES WIRE_HEADER_BYTES
#define WIRE_JOIN_BYTES	   (WIRE_HEADER_BYTES + 8 + WIRE_TOKEN_BYTES)

/*
 * Cuts a stream: the length of the message that begins at @buf, 0 when fewer than
 * WIRE_HEADER_BYTES of it are there, -EBADMSG when it is no message.
 */
int wire_length(const void *buf, size_t bytes) __attribute__((warn_unused_result));

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
