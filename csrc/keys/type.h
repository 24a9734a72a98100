/*
 * Inside of the keys: a row per key type, with how its numbers and signatures are written.
 */
#ifndef MSSH_KEYS_TYPE_H
#define MSSH_KEYS_TYPE_H

#include "crypto/pkey.h"
#include "keys/certificate.h"
#include "wire/reader.h"
#include "wire/writer.h"

typedef struct mssh_key_kind mssh_key_kind;

/* What the keys of security keys have besides the numbers: the application, and in a private file flags, key
 * handle and a reserved string, kept as one. */
enum { MSSH_KEY_APPLICATION = MSSH_PKEY_PARTS_MAX, MSSH_KEY_HANDLE, MSSH_KEY_PARTS_MAX };

struct mssh_key_kind {
    const char *name;        /* "ecdsa-sha2-nistp256" */
    const char *certificate; /* the type's name when it is a certificate */
    const char *curve;       /* "nistp256", or NULL */
    mssh_pkey_kind kind;
    unsigned min_bits; /* smaller keys are refused; 0: there are none */
    bool in_hardware;  /* the private half is in a security key */
    /* The fields behind the type name in a public blob, and in a private key file (which repeats the public
     * ones). The reader's state tells whether they were there. */
    void (*read_public)(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts);
    void (*write_public)(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out);
    void (*read_private)(const mssh_key_kind *type, mssh_reader *reader, mssh_slice *parts);
    void (*write_private)(const mssh_key_kind *type, const mssh_slice *parts, mssh_buf *out);
    /* The inner signature, from and to the fixed length that crypto/pkey.h uses. False: out of form. */
    bool (*read_signature)(mssh_slice bytes, uint8_t *out, size_t len);
    void (*write_signature)(const uint8_t *signature, size_t len, mssh_buf *out);
};

struct mssh_key {
    mssh_mem *mem;
    size_t refs;
    const mssh_key_kind *type; /* of the plain key */
    mssh_pkey *pkey;
    mssh_buf plain; /* the public blob without certificate */
    mssh_buf comment;
    mssh_buf application; /* of security keys */
    mssh_buf handle;      /* empty where the file was not a private one */
    mssh_buf certified;   /* the whole certificate; empty where there is none */
    mssh_certificate certificate;
};

/* The row of a type name, or NULL. */
const mssh_key_kind *mssh_key_type_find(mssh_slice name);

/* The row of a certificate's type name, or NULL. */
const mssh_key_kind *mssh_key_type_find_certified(mssh_slice name);

/* The row of a kind of key pair. */
const mssh_key_kind *mssh_key_type_of(mssh_pkey_kind kind);

/* Says in *failure that a type name has no row; the code. */
int mssh_key_type_refuse(mssh_slice name, mssh_failure *failure);

/* A key around *pkey, which it adopts also on failure; without a comment. MSSH_ERR_KEY_FORMAT when it is
 * smaller than its type may be. */
int mssh_key_wrap(mssh_mem *mem, mssh_pkey *pkey, mssh_key **key, mssh_failure *failure);

/* A key from its parts (mssh_pkey_new, then MSSH_KEY_APPLICATION and MSSH_KEY_HANDLE), without a comment. */
int mssh_key_from_parts(mssh_mem *mem, const mssh_key_kind *type, const mssh_slice *parts, bool with_private,
                        mssh_key **key, mssh_failure *failure);

/* Gives a key that nobody else has yet its comment. 0, or the buffer's error. */
int mssh_key_set_comment(mssh_key *key, mssh_slice comment);

/* Reads a certificate's blob. */
int mssh_certificate_parse(mssh_mem *mem, const mssh_key_kind *type, mssh_slice blob, mssh_key **key,
                           mssh_failure *failure);

/* Takes the next line off *rest, without its end. False when there is none. */
bool mssh_file_next_line(mssh_slice *rest, mssh_slice *line);

/* Reads a PuTTY key file. */
int mssh_ppk_parse(mssh_mem *mem, mssh_slice text, mssh_slice passphrase, mssh_key **key,
                   mssh_failure *failure);

/* Reads a decoded openssh-key-v1 file. */
int mssh_openssh_parse(mssh_mem *mem, mssh_slice file, mssh_slice passphrase, mssh_key **key,
                       mssh_failure *failure);

/* Appends a key as such a file, in its armour; encrypted unless the passphrase is empty. */
int mssh_openssh_write(mssh_mem *mem, const mssh_key *key, mssh_slice passphrase, mssh_slice comment,
                       mssh_buf *out);

#endif
