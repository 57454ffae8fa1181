/* The two ways of exporting. Nothing here is public. */
#ifndef UQFF_PACK_EXPORT_H
#define UQFF_PACK_EXPORT_H

#include "pack/plan.h"

/* Name, recipe and type of the variant that a model shows; a model without variants is called after
 * the type of most of its weights. The strings live as long as the model, or until the next call.
 */
void uqff_export_describe(const struct uqff_model *model, const char **name, const char **recipe,
                          uint32_t *type);

/* The blocks as they are, in the container of another program or our own (export.c). */
enum uqff_code uqff_export_plain(const struct uqff_model *model, const char *output,
                                 enum uqff_pack_format format,
                                 const struct uqff_export_options *options,
                                 const struct uqff_progress *progress, struct uqff_error *err);

/* Puts the path of the file that a plan's run writes where the options want it (NULL: nowhere): as
 * it was called, or of several the first; nothing for a directory (export.c). */
enum uqff_code uqff_export_tell(const struct uqff_pack_plan *plan, char **written,
                                struct uqff_error *err);

/* Decoded safetensors with the side files, in `directory` (export_decoded.c). With `keep` floats
 * keep the types that they have, whatever options->dtype says; all modules must be floats then. */
enum uqff_code uqff_export_decoded(const struct uqff_model *model, const char *directory, bool keep,
                                   const struct uqff_export_options *options,
                                   const struct uqff_progress *progress, struct uqff_error *err);

/* A UQFF 0.x file as a mistral.rs directory, every payload as it is (convert_legacy.c). */
enum uqff_code uqff_convert_legacy(const struct uqff_model *model,
                                   const struct uqff_convert_options *options,
                                   const struct uqff_progress *progress, struct uqff_error *err);

#endif
