/* A view of a model's files as they lie on disk, whatever container they are, and what commands
 * show of it. */
#ifndef UQFF_CLI_VIEW_H
#define UQFF_CLI_VIEW_H

#include "filter.h"
#include "json.h"

#include "uqff/pack.h"

/* A tensor as a file has it, or one module's weight in one encoding. */
struct item {
    const char *name;
    size_t name_length;
    const char *type;      /* "Q4_K", "BF16", "HQQ4" */
    const uint64_t *shape; /* outermost first */
    unsigned rank;
    uint64_t elements, bytes;
    uint64_t offset; /* of the first byte, in its file */
    size_t file;
    const char *what; /* UQFF: "module", "bias" or "residual"; else NULL */
    size_t blob;      /* UQFF: of a module; else UQFF_NONE */
};

struct view_file {
    const char *path;
    uint64_t bytes;
};

struct view {
    struct cli *cli;
    struct uqff_warner warner;
    struct list warnings; /* of opening */
    bool allow_newer_minor;
    const char *reference;
    enum uqff_model_kind kind;
    struct uqff_model *model;  /* NULL when the files hold no complete model */
    struct uqff_error refusal; /* then: why not */
    struct uqff_model *first;  /* then: the first variant, once its values were asked for */
    /* Below the model, or opened by themselves when there is none. */
    struct uqff_safetensors_set *set;
    struct uqff_gguf *gguf;
    struct uqff_container *container;
    size_t variant; /* that `#variant` names, or UQFF_NONE */

    struct filter *filter;
    struct view_file *files;
    size_t file_count;
    struct item *items; /* those that pass the filter */
    size_t item_count;
    size_t hidden; /* how many do not */
    /* Of all items, whether or not they pass; shared blobs once. `weights` counts a module once. */
    uint64_t weights, bytes;
};

/* Opens a reference; a file that is well-formed but holds no model is opened as it is. `pattern` is
 * that of
 * --filter, or NULL. */
enum uqff_code view_open(struct cli *cli, const char *reference, const char *pattern,
                         bool allow_newer_minor, struct view *out,
                         struct uqff_error *err) UQFF_MUST_CHECK;
void view_close(struct view *view);

/* "multi-quant uqff 1.2.0", "gguf 3", "safetensors" */
const char *view_kind(const struct view *view, char out[64]);

/* ---- what can be shown: as text, or as a member of a document -------------------------------- */

enum uqff_code view_summary(struct view *view, cJSON *document,
                            struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code view_tensors(struct view *view, cJSON *document,
                            struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code view_metadata(struct view *view, cJSON *document,
                             struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code view_variants(struct view *view, cJSON *document,
                             struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code view_layout(struct view *view, cJSON *document,
                           struct uqff_error *err) UQFF_MUST_CHECK;
enum uqff_code view_stats(struct view *view, cJSON *document,
                          struct uqff_error *err) UQFF_MUST_CHECK;

/* Says how many rows --filter left out. */
void view_hidden(const struct view *view, size_t hidden);

#endif
