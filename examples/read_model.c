/* Prints the first weights of every matrix of a model: a Hugging Face directory, GGUF or UQFF.
 *
 *     cc read_model.c -o read_model $(pkg-config --cflags --libs uqff)
 *     ./read_model storyteller.uqff#q6_k
 */
#include <stdio.h>

#include <uqff/model.h>

static enum uqff_code print_module(const struct uqff_model *model, size_t i,
                                   struct uqff_error *err) {
    const struct uqff_model_module *module = uqff_model_module(model, i);
    float *row = uqff_alloc_array((size_t)module->columns, sizeof *row);
    if (row == NULL) {
        return uqff_fail_memory(err);
    }
    enum uqff_code code = uqff_model_read_module_rows(model, i, 0, 1, row, err);
    if (code == UQFF_OK) {
        printf("%s %s: %g %g …\n", module->name, uqff_type_name(module->type), row[0], row[1]);
    }
    uqff_free(row);
    return code;
}

int main(int argc, char **argv) {
    struct uqff_model *model = NULL;
    struct uqff_error err;
    enum uqff_code code = uqff_model_open(argc > 1 ? argv[1] : "", NULL, &model, &err);
    for (size_t i = 0; code == UQFF_OK && i < uqff_model_module_count(model); i++) {
        code = print_module(model, i, &err);
    }
    uqff_model_close(model);
    if (code != UQFF_OK) {
        fprintf(stderr, "%s\n", err.text);
    }
    return code == UQFF_OK ? 0 : 1;
}
