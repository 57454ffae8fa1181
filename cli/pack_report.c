/* pack_report: a plan as tables or as JSON. */
#include "pack_report.h"

#include <stdio.h>
#include <string.h>

#include "json.h"
#include "output.h"
#include "table.h"

static const struct uqff_pack_variant *variant(const struct pack_report *report, size_t i) {
    return uqff_pack_plan_variant(report->plan, i);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_modules(const struct pack_report *report, cJSON *document) {
    cJSON *modules = json_array(document, "modules");
    const size_t variants = uqff_pack_plan_variant_count(report->plan);
    for (size_t m = 0; m < uqff_model_module_count(report->model); m++) {
        const struct uqff_model_module *module = uqff_model_module(report->model, m);
        cJSON *object = json_object(modules, NULL);
        json_text(object, "name", module->name);
        json_text(object, "gguf_name", module->gguf_name);
        json_text(object, "source_type",
                  module->type == UQFF_NO_TYPE ? NULL : uqff_type_name(module->type));
        struct uqff_buffer shape = {0};
        json_put_shape(&shape, module->shape, module->rank);
        json_raw_buffer(object, "shape", &shape);
        cJSON *choices = json_array(object, "choices");
        for (size_t v = 0; v < variants; v++) {
            const struct uqff_choice choice = uqff_pack_plan_choice(report->plan, v, m);
            cJSON *item = json_object(choices, NULL);
            json_text(item, "variant", variant(report, v)->quant->name);
            json_text(item, "type", uqff_type_name(choice.type));
            json_text(item, "wanted", uqff_type_name(choice.wanted));
            json_text(item, "why", uqff_why_name(choice.why));
            json_u64(item, "bytes", uqff_pack_plan_bytes(report->plan, v, m));
        }
    }
}

static enum uqff_code print_json(const struct pack_report *report, struct uqff_error *err) {
    cJSON *document = json_document(report->cli);
    json_text(document, "path", report->cli->file);
    json_bool(document, "dry_run", report->dry_run);
    static const char *const formats[] = {"uqff", "mistralrs", "gguf"};
    json_text(document, "format", formats[report->options->format]);
    cJSON *files = json_array(document, "files");
    for (size_t i = 0; i < uqff_pack_plan_file_count(report->plan); i++) {
        const struct uqff_pack_file file = uqff_pack_plan_file(report->plan, i);
        cJSON *object = json_object(files, NULL);
        json_text(object, "path", file.path);
        json_u64(object, "bytes", file.bytes);
    }
    cJSON *variants = json_array(document, "variants");
    for (size_t i = 0; i < uqff_pack_plan_variant_count(report->plan); i++) {
        const struct uqff_pack_variant *v = variant(report, i);
        cJSON *object = json_object(variants, NULL);
        json_text(object, "name", v->quant->name);
        json_text(object, "recipe", v->quant->recipe);
        json_text(object, "type", uqff_type_name(v->quant->type));
        json_bool(object, "default", v->is_default);
        json_u64(object, "weights", v->weights);
        json_u64(object, "bytes", v->bytes);
        json_u64(object, "fallbacks", v->fallbacks);
    }
    json_u64(document, "shared_bytes", uqff_pack_plan_shared_bytes(report->plan));
    json_u64(document, "residual_bytes", uqff_pack_plan_residual_bytes(report->plan));
    json_u64(document, "asset_bytes", uqff_pack_plan_asset_bytes(report->plan));
    if (report->dry_run) {
        json_modules(report, document);
    }
    return json_print(report->cli, document, err);
}

/* ---- the plan -------------------------------------------------------------------------------- */

/* "Q6_K", "Q5_0 !" for a fallback; under --verbose the reason behind it. */
static void add_choice(const struct pack_report *report, struct table *table, size_t v, size_t m) {
    const struct uqff_choice choice = uqff_pack_plan_choice(report->plan, v, m);
    const bool fallback = choice.why == UQFF_WHY_FALLBACK;
    if (report->cli->verbose) {
        table_cell(table, "%s %s", uqff_type_name(choice.type), uqff_why_name(choice.why));
    } else {
        table_cell(table, "%s%s", uqff_type_name(choice.type), fallback ? " !" : "");
    }
    table_size(table, uqff_pack_plan_bytes(report->plan, v, m));
}

static enum uqff_code print_modules(const struct pack_report *report, struct uqff_error *err) {
    const size_t variants = uqff_pack_plan_variant_count(report->plan);
    struct table table = {0};
    char text[512];
    table_column(&table, "TENSOR", ALIGN_LEFT);
    table_column(&table, "SHAPE", ALIGN_RIGHT);
    for (size_t v = 0; v < variants; v++) {
        table_column(&table, variant(report, v)->quant->name, ALIGN_LEFT);
        table_column(&table, "SIZE", ALIGN_RIGHT);
    }
    for (size_t m = 0; m < uqff_model_module_count(report->model); m++) {
        const struct uqff_model_module *module = uqff_model_module(report->model, m);
        table_bytes(&table, report->cli->verbose ? 0 : 60, module->name, strlen(module->name));
        table_text(&table, output_shape(text, sizeof text, module->shape, module->rank));
        for (size_t v = 0; v < variants; v++) {
            add_choice(report, &table, v, m);
        }
    }
    table_total(&table);
    table_text(&table, "total, bits a weight");
    table_text(&table, "");
    for (size_t v = 0; v < variants; v++) {
        table_text(&table,
                   output_bits(text, variant(report, v)->bytes, variant(report, v)->weights));
        table_size(&table, variant(report, v)->bytes);
    }
    return table_print(&table, report->cli, 0, err);
}

/* A line for each fallback: what was wanted, what it became, and why. */
static void print_fallbacks(const struct pack_report *report) {
    bool any = false;
    for (size_t m = 0; m < uqff_model_module_count(report->model); m++) {
        const struct uqff_model_module *module = uqff_model_module(report->model, m);
        for (size_t v = 0; v < uqff_pack_plan_variant_count(report->plan); v++) {
            const struct uqff_choice choice = uqff_pack_plan_choice(report->plan, v, m);
            if (choice.why != UQFF_WHY_FALLBACK) {
                continue;
            }
            const struct uqff_type_info *wanted = uqff_type_info(choice.wanted);
            char name[300];
            printf("%s! %s: %s takes %s, not %s: rows of %llu are no multiple of %u\n",
                   any ? "" : "\n",
                   output_cut(name, sizeof name, 80, module->name, strlen(module->name)),
                   variant(report, v)->quant->name, uqff_type_name(choice.type),
                   uqff_type_name(choice.wanted), (unsigned long long)module->columns,
                   wanted == NULL ? 1 : (unsigned)wanted->block_length);
            any = true;
        }
    }
}

/* ---- what is made ---------------------------------------------------------------------------- */

static enum uqff_code print_variants(const struct pack_report *report, struct uqff_error *err) {
    struct table table = {0};
    char text[32];
    table_column(&table, "VARIANT", ALIGN_LEFT);
    table_column(&table, "RECIPE", ALIGN_LEFT);
    table_column(&table, "WEIGHTS", ALIGN_RIGHT);
    table_column(&table, "SIZE", ALIGN_RIGHT);
    table_column(&table, "BITS", ALIGN_RIGHT);
    table_column(&table, "FALLBACKS", ALIGN_RIGHT);
    for (size_t i = 0; i < uqff_pack_plan_variant_count(report->plan); i++) {
        const struct uqff_pack_variant *v = variant(report, i);
        table_cell(&table, "%s%s", v->quant->name, v->is_default ? " *" : "");
        table_text(&table, v->quant->recipe);
        table_text(&table, output_count(text, v->weights));
        table_size(&table, v->bytes);
        table_text(&table, output_bits(text, v->bytes, v->weights));
        table_text(&table, output_count(text, v->fallbacks));
    }
    return table_print(&table, report->cli, 0, err);
}

static void print_note(const char *name, uint64_t bytes) {
    char size[16];
    if (bytes > 0) {
        uqff_format_bytes(size, bytes);
        printf("%s: %s\n", name, size);
    }
}

static enum uqff_code print_files(const struct pack_report *report, struct uqff_error *err) {
    struct table table = {0};
    const size_t count = uqff_pack_plan_file_count(report->plan);
    uint64_t total = 0;
    table_column(&table, report->dry_run ? "WOULD BE WRITTEN" : "WRITTEN", ALIGN_LEFT);
    table_column(&table, "SIZE", ALIGN_RIGHT);
    for (size_t i = 0; i < count; i++) {
        const struct uqff_pack_file file = uqff_pack_plan_file(report->plan, i);
        table_bytes(&table, 0, file.path, strlen(file.path));
        table_size(&table, file.bytes);
        total += file.bytes;
    }
    if (count > 1) {
        table_total(&table);
        table_cell(&table, "total: %zu", count);
        table_size(&table, total);
    }
    return table_print(&table, report->cli, 0, err);
}

enum uqff_code pack_report_print(const struct pack_report *report, struct uqff_error *err) {
    if (report->cli->json) {
        return print_json(report, err);
    }
    if (report->cli->quiet && !report->dry_run) {
        return UQFF_OK;
    }
    enum uqff_code code = UQFF_OK;
    if (report->dry_run) {
        code = print_modules(report, err);
        if (code == UQFF_OK) {
            print_fallbacks(report);
            printf("\n");
        }
    }
    if (code == UQFF_OK) {
        code = print_variants(report, err);
    }
    if (code != UQFF_OK) {
        return code;
    }
    print_note("shared by variants", uqff_pack_plan_shared_bytes(report->plan));
    print_note("tensors that are not quantized", uqff_pack_plan_residual_bytes(report->plan));
    print_note("side files", uqff_pack_plan_asset_bytes(report->plan));
    printf("\n");
    return print_files(report, err);
}
