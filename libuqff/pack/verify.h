/* verify: the parts of a verification. Each adds findings; an error ends the whole. */
#ifndef UQFF_PACK_VERIFY_H
#define UQFF_PACK_VERIFY_H

#include "pack/findings.h"

/* ---- verify_files.c: digests and values of one container ------------------------------------- */

enum uqff_code uqff_verify_safetensors(struct verify *verify,
                                       const struct uqff_safetensors_set *set,
                                       struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code uqff_verify_gguf(struct verify *verify, const struct uqff_gguf *gguf,
                                struct uqff_error *err) UQFF_MUST_CHECK;
/* `variant`: of a multi-quant file only that variant's blobs, or UQFF_NONE for all. */
enum uqff_code uqff_verify_container(struct verify *verify, const struct uqff_container *container,
                                     size_t variant, struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- targets --------------------------------------------------------------------------------- */

/* What mistral.rs demands of the containers of a directory (one, or all that it holds) and of the
 * side files in it. */
enum uqff_code uqff_verify_mistralrs(struct verify *verify, const char *directory,
                                     struct uqff_container *const *containers, size_t count,
                                     struct uqff_error *err) UQFF_MUST_CHECK;
/* The same for one container by itself; `config` may be NULL. verify_modules.c. */
void uqff_verify_modules(struct verify *verify, const struct uqff_container *container,
                         const struct uqff_config *config);
/* Whether the tensors that are no modules complete the container. verify_residual.c. */
enum uqff_code uqff_verify_residual(struct verify *verify, const struct uqff_container *container,
                                    const struct uqff_config *config, const char *const *names,
                                    size_t count, const char *where,
                                    struct uqff_error *err) UQFF_MUST_CHECK;
/* Reads the number of layers that each of `count` outputs of a report has; UINT64_MAX where it does
 * not say. verify_report.c. */
enum uqff_code uqff_verify_report_layers(const char *text, size_t size, uint64_t *layers,
                                         size_t count, struct uqff_error *err) UQFF_MUST_CHECK;
/* What llama.cpp's reader and loader demand of a GGUF. */
enum uqff_code uqff_verify_llamacpp(struct verify *verify, const struct uqff_gguf *gguf,
                                    struct uqff_error *err) UQFF_MUST_CHECK;
/* The second half of that: what the loader needs to find. verify_llamacpp_model.c. */
enum uqff_code uqff_verify_llamacpp_model(struct verify *verify, const struct uqff_gguf *gguf,
                                          struct uqff_error *err) UQFF_MUST_CHECK;

/* ---- recomputing ----------------------------------------------------------------------------- */

/* Encodes everything again from options->recompute and compares. `residual` is the set beside a
 * plain UQFF set, or NULL. */
enum uqff_code uqff_verify_recompute(struct verify *verify, const struct uqff_container *container,
                                     const struct uqff_safetensors_set *residual, size_t variant,
                                     struct uqff_error *err) UQFF_MUST_CHECK;
/* The same for a model in another kind of container. */
enum uqff_code uqff_verify_recompute_model(struct verify *verify, const struct uqff_model *model,
                                           struct uqff_error *err) UQFF_MUST_CHECK;

#endif
