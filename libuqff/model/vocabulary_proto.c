/*
 * tokenizer.model: SentencePiece's ModelProto, in protocol buffers' wire form. A message is a
 * sequence of fields, each
 *
 *   tag, a varint: number << 3 | kind    kind 0: varint            1: 8 bytes
 *   value                                     2: length, bytes     5: 4 bytes
 *
 * and a varint has seven bits a byte, lowest first, the top bit set on all but the last. Of the
 * fields these are read, by number; others are passed over:
 *
 *   ModelProto       1 piece (many)  2 trainer_spec  3 normalizer_spec
 *   piece            1 text  2 score (float)  3 type
 *   trainer_spec     3 model_type  24 treat_whitespace_as_suffix  35 byte_fallback
 *                    40 unk_id  41 bos_id  42 eos_id  43 pad_id
 *   normalizer_spec  1 name  2 precompiled_charsmap  3 add_dummy_prefix
 *                    4 remove_extra_whitespaces  5 escape_whitespaces
 */
#include <string.h>

#include "model/vocabulary.h"

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

/* A message, and how far it was read. */
struct message {
    struct uqff_vocabulary *v;
    const unsigned char *bytes;
    size_t size, at;
    uint64_t offset; /* of bytes[0] in the file */
};

struct field {
    uint64_t number;
    enum wire wire;
    uint64_t value;       /* varint, or the raw bits */
    struct message bytes; /* WIRE_BYTES */
};

static enum uqff_code fail_at(const struct message *m, const char *what, struct uqff_error *err) {
    uint64_t offset = m->offset + m->at;
    return uqff_fail(err, UQFF_E_SYNTAX, offset, "%s: byte %llu: found %s", m->v->where,
                     (unsigned long long)offset, what);
}

static enum uqff_code read_varint(struct message *m, uint64_t *out, struct uqff_error *err) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (m->at == m->size) {
            return fail_at(m, "the end, expected the rest of a number", err);
        }
        unsigned char byte = m->bytes[m->at++];
        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *out = value;
            return UQFF_OK;
        }
    }
    return fail_at(m, "a number of more than 64 bits", err);
}

static enum uqff_code read_fixed(struct message *m, size_t n, uint64_t *out,
                                 struct uqff_error *err) {
    if (m->size - m->at < n) {
        return fail_at(m, "the end, expected the rest of a number", err);
    }
    *out = n == 4 ? uqff_load_le32(m->bytes + m->at) : uqff_load_le64(m->bytes + m->at);
    m->at += n;
    return UQFF_OK;
}

/* Three states: a field (*done false), the end (*done true), an error. */
static enum uqff_code next_field(struct message *m, struct field *field, bool *done,
                                 struct uqff_error *err) {
    uint64_t tag = 0;
    *done = m->at == m->size;
    if (*done) {
        return UQFF_OK;
    }
    enum uqff_code code = read_varint(m, &tag, err);
    if (code != UQFF_OK) {
        return code;
    }
    field->number = tag >> 3;
    field->wire = (enum wire)(tag & 7);
    switch (field->wire) {
    case WIRE_VARINT:
        return read_varint(m, &field->value, err);
    case WIRE_64:
        return read_fixed(m, 8, &field->value, err);
    case WIRE_32:
        return read_fixed(m, 4, &field->value, err);
    case WIRE_BYTES:
        code = read_varint(m, &field->value, err);
        if (code == UQFF_OK && field->value > m->size - m->at) {
            return fail_at(m, "a length beyond the end", err);
        }
        if (code == UQFF_OK) {
            size_t n = (size_t)field->value;
            field->bytes = (struct message){m->v, m->bytes + m->at, n, 0, m->offset + m->at};
            m->at += n;
        }
        return code;
    default:
        return fail_at(m, "a field of unknown kind", err);
    }
}

/* The same, passing over fields of another kind. */
static enum uqff_code next_of_kind(struct message *m, enum wire wire, struct field *field,
                                   bool *done, struct uqff_error *err) {
    enum uqff_code code;
    do {
        code = next_field(m, field, done, err);
    } while (code == UQFF_OK && !*done && field->wire != wire);
    return code;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

struct piece {
    const char *text;
    size_t length;
    float score;
    uint64_t type;
};

static enum uqff_code read_piece_fields(struct message *m, struct piece *piece,
                                        struct uqff_error *err) {
    for (;;) {
        struct field field;
        bool done;
        enum uqff_code code = next_field(m, &field, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        if (field.number == 1 && field.wire == WIRE_BYTES) {
            piece->text = (const char *)field.bytes.bytes;
            piece->length = field.bytes.size;
        } else if (field.number == 2 && field.wire == WIRE_32) {
            uint32_t bits = (uint32_t)field.value;
            memcpy(&piece->score, &bits, sizeof bits);
        } else if (field.number == 3 && field.wire == WIRE_VARINT) {
            piece->type = field.value;
        }
    }
}

static enum uqff_code read_piece(struct uqff_vocabulary *v, struct message *m,
                                 struct uqff_error *err) {
    struct piece piece = {.text = "", .type = UQFF_TOKEN_NORMAL};
    struct vocabulary_token *token;
    enum uqff_code code = read_piece_fields(m, &piece, err);
    if (code != UQFF_OK) {
        return code;
    }
    if (piece.type < UQFF_TOKEN_NORMAL || piece.type > UQFF_TOKEN_BYTE) {
        return uqff_fail(err, UQFF_E_FIELD, m->offset,
                         "%s: piece %zu: found type %llu, expected 1 to 6", v->where, v->count,
                         (unsigned long long)piece.type);
    }
    if (!uqff_utf8_valid(piece.text, piece.length, NULL)) {
        return uqff_fail(err, UQFF_E_ENCODING, m->offset,
                         "%s: piece %zu: found text that is not valid UTF-8", v->where, v->count);
    }
    code = uqff_vocab_add(v, v->count, piece.text, piece.length, (enum uqff_token_type)piece.type,
                          &token, err);
    if (code != UQFF_OK) {
        return code;
    }
    token->score = piece.score;
    if (piece.type == UQFF_TOKEN_CONTROL || piece.type == UQFF_TOKEN_UNKNOWN ||
        piece.type == UQFF_TOKEN_USER_DEFINED) {
        token->flags = TOKEN_ADDED;
    }
    return UQFF_OK;
}

/* ---- specifications -------------------------------------------------------------------------- */

struct specification {
    uint64_t model_type;
    bool whitespace_as_suffix, byte_fallback;
    uint64_t unknown, bos, eos, padding; /* int32 as varints: negative ones have the top bits set */
};

static enum uqff_code read_trainer(struct message *m, struct specification *spec,
                                   struct uqff_error *err) {
    for (;;) {
        struct field field;
        bool done;
        enum uqff_code code = next_of_kind(m, WIRE_VARINT, &field, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        switch (field.number) {
        case 3:
            spec->model_type = field.value;
            break;
        case 24:
            spec->whitespace_as_suffix = field.value != 0;
            break;
        case 35:
            spec->byte_fallback = field.value != 0;
            break;
        case 40:
            spec->unknown = field.value;
            break;
        case 41:
            spec->bos = field.value;
            break;
        case 42:
            spec->eos = field.value;
            break;
        case 43:
            spec->padding = field.value;
            break;
        default:
            break;
        }
    }
}

static enum uqff_code read_normalizer(struct message *m, struct uqff_error *err) {
    struct uqff_vocabulary *v = m->v;
    struct message name = {0};
    bool has_map = false;
    for (;;) {
        struct field field;
        bool done;
        enum uqff_code code = next_field(m, &field, &done, err);
        if (code != UQFF_OK) {
            return code;
        }
        if (done) {
            break;
        }
        if (field.wire == WIRE_BYTES && field.number == 1) {
            name = field.bytes;
        } else if (field.wire == WIRE_BYTES && field.number == 2) {
            has_map = field.bytes.size != 0;
        } else if (field.wire == WIRE_VARINT && field.number == 3) {
            v->info.add_prefix_space = field.value != 0;
        } else if (field.wire == WIRE_VARINT && field.number == 4) {
            v->info.remove_extra_whitespace = field.value != 0;
        } else if (field.wire == WIRE_VARINT && field.number == 5) {
            v->info.escape_whitespace = field.value != 0;
        }
    }
    return has_map ? uqff_vocab_unsupported(v, err, "the normalizer '%.*s' of SentencePiece",
                                            (int)(name.size < 100 ? name.size : 100),
                                            name.size == 0 ? "" : (const char *)name.bytes)
                   : UQFF_OK;
}

static enum uqff_code read_model(struct message *m, struct specification *spec,
                                 struct uqff_error *err) {
    for (;;) {
        struct field field;
        bool done;
        enum uqff_code code = next_of_kind(m, WIRE_BYTES, &field, &done, err);
        if (code != UQFF_OK || done) {
            return code;
        }
        if (field.number == 1) {
            code = read_piece(m->v, &field.bytes, err);
        } else if (field.number == 2) {
            code = read_trainer(&field.bytes, spec, err);
        } else if (field.number == 3) {
            code = read_normalizer(&field.bytes, err);
        }
        if (code != UQFF_OK) {
            return code;
        }
    }
}

/* -1 is none. */
static enum uqff_code take_id(struct uqff_vocabulary *v, const char *name, uint64_t value,
                              enum vocabulary_special which, struct uqff_error *err) {
    if ((value & 0xFFFFFFFFu) == 0xFFFFFFFFu) {
        return UQFF_OK;
    }
    if (value >= v->info.size) {
        return uqff_fail(err, UQFF_E_FIELD, UQFF_NO_OFFSET,
                         "%s: trainer_spec: found %s %llu, expected one below %u", v->where, name,
                         (unsigned long long)value, v->info.size);
    }
    *uqff_vocab_special(v, which) = (uint32_t)value;
    return UQFF_OK;
}

static enum uqff_code check_specification(struct uqff_vocabulary *v,
                                          const struct specification *spec,
                                          struct uqff_error *err) {
    static const char *const names[] = {"0", "UNIGRAM", "BPE", "WORD", "CHAR"};
    if (spec->model_type != MODEL_BPE) {
        return uqff_fail(err, UQFF_E_UNSUPPORTED, UQFF_NO_OFFSET,
                         "%s: trainer_spec: found model type %s, expected BPE", v->where,
                         spec->model_type < 5 ? names[spec->model_type] : "unknown");
    }
    v->info.byte_fallback = spec->byte_fallback;
    if (spec->whitespace_as_suffix) {
        return uqff_vocab_unsupported(v, err, "white space as suffix (SentencePiece)");
    }
    return UQFF_OK;
}

enum uqff_code uqff_vocab_read_proto(struct uqff_vocabulary *v, const char *bytes, size_t size,
                                     struct uqff_error *err) {
    struct message m = {v, (const unsigned char *)bytes, size, 0, 0};
    /* The defaults of the format. */
    struct specification spec = {
        .model_type = MODEL_UNIGRAM, .bos = 1, .eos = 2, .padding = UINT64_MAX};
    v->info.kind = UQFF_VOCABULARY_SPM;
    v->info.add_prefix_space = v->info.remove_extra_whitespace = v->info.escape_whitespace = true;
    v->info.add_bos = true;
    enum uqff_code code = read_model(&m, &spec, err);
    code = code != UQFF_OK ? code : check_specification(v, &spec, err);
    code = code != UQFF_OK ? code : uqff_vocab_index(v, err);
    code = code != UQFF_OK ? code : take_id(v, "unk_id", spec.unknown, SPECIAL_UNKNOWN, err);
    code = code != UQFF_OK ? code : take_id(v, "bos_id", spec.bos, SPECIAL_BOS, err);
    code = code != UQFF_OK ? code : take_id(v, "eos_id", spec.eos, SPECIAL_EOS, err);
    return code != UQFF_OK ? code : take_id(v, "pad_id", spec.padding, SPECIAL_PADDING, err);
}
