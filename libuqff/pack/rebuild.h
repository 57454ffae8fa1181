/*
 * rebuild: the side files that a GGUF does not have, made from its metadata. Nothing here is
 * public.
 *
 *     rebuild.c            which files
 *     rebuild_json.c       numbers and members
 *     rebuild_config.c     config.json, generation_config.json
 *     rebuild_rope.c       rope_scaling
 *     rebuild_tokenizer.c  tokenizer.json, tokenizer_config.json
 *     rebuild_merges.c     the merges that tokenizer.json wants of a SentencePiece vocabulary
 */
#ifndef UQFF_PACK_REBUILD_H
#define UQFF_PACK_REBUILD_H

#include "pack/plan.h"

#define REBUILD_METADATA "gguf-metadata.bin"

/* Everything that is carried with the model: its own side files and, when it is a GGUF, those that
 * are made of its metadata. Sorted by path; *out lives in `arena`, with room for `extra` more. What
 * cannot be made is warned of and left out. */
enum uqff_code uqff_rebuild_sides(const struct uqff_model *model, const struct uqff_warner *warner,
                                  size_t extra, struct uqff_arena *arena, struct pack_side **out,
                                  size_t *count, struct uqff_error *err);

/* ---- JSON ------------------------------------------------------------------------------------ */

/* An object being written, pretty, one member a line. */
struct rebuild_json {
    struct uqff_buffer *out;
    const char *indent; /* of the members */
    bool any;
};
/* Puts a comma where one is needed, and the key; the value follows. */
void uqff_rebuild_key(struct rebuild_json *json, const char *key);
void uqff_rebuild_text(struct rebuild_json *json, const char *key, const char *text, size_t length);
void uqff_rebuild_count(struct rebuild_json *json, const char *key, uint64_t value);
void uqff_rebuild_flag(struct rebuild_json *json, const char *key, bool value);
/* A number as short as it can be to read back as the same float32 (or double, if it is none). */
void uqff_rebuild_real(struct rebuild_json *json, const char *key, double value);
void uqff_rebuild_number(struct uqff_buffer *out, double value);

/* ---- what is made ---------------------------------------------------------------------------- */

/* UQFF_E_UNSUPPORTED when it is not known how Hugging Face keeps the architecture. `vocabulary` may
 * be NULL. */
enum uqff_code uqff_rebuild_config(const struct uqff_model *model,
                                   const struct uqff_vocabulary *vocabulary,
                                   const struct uqff_warner *warner, struct uqff_buffer *out,
                                   struct uqff_error *err);
/* Leaves `out` empty when there is nothing to say. */
enum uqff_code uqff_rebuild_generation(const struct uqff_model *model,
                                       const struct uqff_vocabulary *vocabulary,
                                       struct uqff_buffer *out, struct uqff_error *err);
/* The member rope_scaling. */
enum uqff_code uqff_rebuild_rope(const struct uqff_model *model, const struct uqff_warner *warner,
                                 struct rebuild_json *json, struct uqff_error *err);
enum uqff_code uqff_rebuild_tokenizer(const struct uqff_vocabulary *vocabulary,
                                      struct uqff_buffer *out, struct uqff_error *err);
void uqff_rebuild_tokenizer_config(const struct uqff_model *model,
                                   const struct uqff_vocabulary *vocabulary,
                                   struct uqff_buffer *out);

/* Two tokens of a vocabulary that become a third. */
struct rebuild_merge {
    uint32_t left, right, result;
};
/* Every way to put a token together of two others, best first: by score, then by id; freed with
 * uqff_free. */
enum uqff_code uqff_rebuild_merges(const struct uqff_vocabulary *vocabulary,
                                   struct rebuild_merge **out, size_t *count,
                                   struct uqff_error *err);

#endif
