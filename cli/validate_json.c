/* validate: what was measured, as one JSON document. */
#include <math.h>
#include <string.h>

#include "validate.h"

static void put_figures(cJSON *parent, const struct uqff_figures *figures) {
    cJSON *object = json_object(parent, "figures");
    for (int i = 0; i < UQFF_FIGURE_COUNT; i++) {
        const enum uqff_figure figure = (enum uqff_figure)i;
        if (figure == UQFF_FIGURE_BYTES) {
            json_u64(object, uqff_figure_name(figure), (uint64_t)figures->value[i]);
        } else {
            json_double(object, uqff_figure_name(figure), figures->value[i]);
        }
    }
}

static void put_errors(cJSON *parent, const struct uqff_measure *m) {
    cJSON *object = json_object(parent, "errors");
    json_double(object, "ppl", m->perplexity.error);
    if (!m->has_base) {
        return;
    }
    json_double(object, "ppl_ratio", m->ratio.error);
    json_double(object, "ln_ppl_ratio", m->ln_ratio.error);
    json_double(object, "ppl_difference", m->difference.error);
    json_double(object, "kld_mean", m->kld.error);
    json_double(object, "delta_p_mean", 100 * m->delta_p.error);
    json_double(object, "rms_delta_p", 100 * m->rms_delta_p.error);
    json_double(object, "same_top", 100 * m->same_top.error);
}

static void put_percentiles(cJSON *parent, const char *key, const struct uqff_percentiles *all,
                            double scale) {
    cJSON *object = json_object(parent, key);
    for (size_t i = 0; i < 13; i++) {
        json_double(object, validation_percentiles[i].key, scale * validation_percentile(all, i));
    }
}

static void put_type(cJSON *parent, const char *key, uint32_t type) {
    json_text(parent, key, type == UINT32_MAX ? NULL : uqff_type_name(type));
}

static void put_weights(cJSON *parent, const struct uqff_weights *weights) {
    cJSON *list = json_array(parent, "tensors");
    for (size_t i = 0; i < uqff_weights_count(weights); i++) {
        const struct uqff_weight_error *error = uqff_weights_at(weights, i);
        cJSON *object = json_object(list, NULL);
        json_text(object, "name", error->name);
        put_type(object, "source_type", error->source_type);
        put_type(object, "type", error->type);
        json_u64(object, "elements", error->elements);
        json_double(object, "rel_rmse", error->rel_rmse);
        json_double(object, "snr", error->snr);
        json_double(object, "cosine", error->cosine);
        json_double(object, "max_abs", error->max_abs);
        json_u64(object, "max_at", error->max_at);
    }
}

static void put_candidate(const struct validation *v, cJSON *list,
                          const struct candidate *candidate) {
    cJSON *object = json_object(list, NULL);
    json_text(object, "name", candidate->name);
    json_text(object, "model", candidate->reference);
    json_text(object, "recipe", candidate->recipe);
    json_u64(object, "weights", candidate->weights);
    put_figures(object, &candidate->figures);
    if (v->measured) {
        put_errors(object, &candidate->measure);
        if (candidate->measure.has_base) {
            put_percentiles(object, "kld_percentiles", &candidate->measure.kld_percentiles, 1);
            put_percentiles(object, "delta_p_percentiles", &candidate->measure.delta_p_percentiles,
                            100);
        }
    }
    if (candidate->weight_errors != NULL) {
        put_weights(object, candidate->weight_errors);
    }
}

static void put_gate(const struct validation *v, cJSON *document) {
    if (v->gate_path == NULL) {
        json_null(document, "gate");
        return;
    }
    cJSON *gate = json_object(document, "gate");
    json_text(gate, "path", v->gate_path);
    json_bool(gate, "passed", v->failed_count == 0);
    cJSON *checks = json_array(gate, "checks");
    for (size_t i = 0; i < v->check_count; i++) {
        const struct uqff_gate_check *check = &v->checks[i];
        cJSON *object = json_object(checks, NULL);
        json_text(object, "variant", check->variant);
        json_text(object, "check", check->key);
        json_double(object, "limit", check->limit);
        json_double(object, "found", check->found);
        json_bool(object, "passed", check->passed);
    }
}

static void put_base(const struct validation *v, cJSON *document) {
    if (!validation_has_base(v)) {
        json_null(document, "base");
        return;
    }
    cJSON *base = json_object(document, "base");
    json_text(base, "path", v->base != NULL ? v->base_path : v->logits_base_path);
    json_bool(base, "logits", v->base == NULL);
    json_double(base, "ppl", validation_base_figure(v, UQFF_FIGURE_PPL));
    const bool known = v->measured && v->candidates[0].measure.has_base;
    json_double(base, "ppl_error",
                known ? v->candidates[0].measure.base_perplexity.error : (double)NAN);
}

enum uqff_code validation_print_json(const struct validation *v, struct uqff_error *err) {
    cJSON *document = json_document(v->cli);
    put_base(v, document);
    corpus_put_json(&v->text, document);
    json_u64(document, "context", v->context);
    json_u64(document, "chunks", v->chunks);
    json_u64(document, "stride", v->stride);
    json_bool(document, "exact", v->exact);
    json_u64(document, "scored", v->measured ? v->candidates[0].measure.tokens : 0);
    cJSON *variants = json_array(document, "variants");
    for (size_t i = 0; i < v->count; i++) {
        put_candidate(v, variants, &v->candidates[i]);
    }
    put_gate(v, document);
    cJSON *written = json_array(document, "written");
    for (size_t i = 0; i < v->written.count; i++) {
        json_text(written, NULL, v->written.items[i]);
    }
    return json_print(v->cli, document, err);
}
