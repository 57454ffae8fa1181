/* The types that recipes give whole models, against what llama.cpp gives them. */
#include "unit/test_recipe_lists.h"

/* ---- six real models against llama.cpp's own tables ------------------------------------------ */

static const struct shape shapes[] = {
    {"qwen3-0.6b", "qwen3", 1024, 3072, 16, 8, 128, 0, 28, false},
    {"qwen3-14b", "qwen3", 5120, 17408, 40, 8, 128, 0, 40, false},
    {"meta-llama-3.1-70b-instruct", "llama", 8192, 28672, 64, 8, 128, 0, 80, false},
    {"gemma-3-4b-it", "gemma3", 2560, 10240, 8, 4, 256, 0, 34, true},
    {"gpt-oss-120b", "gpt-oss", 2880, 2880, 64, 8, 64, 128, 36, false},
    {"deepseek-v3.1", "deepseek2", 7168, 18432, 128, 1, 0, 256, 61, false},
};

/* The section's file type as a quant. The types of some cannot be encoded, so uqff_quant_parse
 * refuses them; their recipes are there nevertheless. */
static struct uqff_quant section_quant(const char *name, const char *base) {
    static const struct {
        const char *name;
        int id;
    } unencodable[] = {{"IQ2_XXS", 19}, {"IQ2_XS", 20}, {"IQ3_XS", 22}, {"IQ3_XXS", 23},
                       {"IQ1_S", 24},   {"IQ3_S", 26},  {"IQ3_M", 27},  {"IQ2_S", 28},
                       {"IQ2_M", 29},   {"IQ1_M", 31}};
    struct uqff_quant quant = {.family = UQFF_QUANT_LLAMACPP, .recipe = "", .file_type = -1};
    struct uqff_error err;
    const struct uqff_type_info *info = uqff_type_by_name(base);
    assert_non_null(info);
    for (size_t i = 0; i < COUNT(unencodable); i++) {
        if (strcmp(unencodable[i].name, name) == 0) {
            assert_fails(uqff_quant_parse(name, &quant, &err), UQFF_E_TYPE, &err, info->name);
            quant.file_type = unencodable[i].id;
            quant.type = info->id;
            return quant;
        }
    }
    assert_ok(uqff_quant_parse(name, &quant, &err), &err);
    assert_int_equal(quant.family, UQFF_QUANT_LLAMACPP);
    assert_string_equal(quant.recipe, name);
    assert_int_equal(quant.type, info->id);
    return quant;
}

struct section {
    char name[32], base[32];
    uint32_t expected[2048];
    bool open;
};

/* Compares the section that has been read with what uqff_recipe_choose says; returns the number of
 * tensors compared. */
static size_t check_section(struct tensor_list *list, struct section *section, const char *file) {
    if (!section->open) {
        return 0;
    }
    static struct uqff_choice choices[2048];
    struct uqff_error err;
    const struct uqff_quant quant = section_quant(section->name, section->base);
    assert_ok(uqff_recipe_choose(&quant, &list->model, list->tensors, list->count, &no_options,
                                 choices, &err),
              &err);
    for (size_t i = 0; i < list->count; i++) {
        if (choices[i].type != section->expected[i]) {
            fail_msg("%s [%s] %s: found %s, expected %s", file, section->name,
                     list->tensors[i].name, uqff_type_info(choices[i].type)->name,
                     uqff_type_info(section->expected[i])->name);
        }
    }
    section->open = false;
    return list->count;
}

static void test_real_models(void **state) {
    (void)state;
    static struct tensor_list list;
    static struct section section;
    if (extra_data("recipes") == NULL) {
        skip();
    }
    for (size_t s = 0; s < COUNT(shapes); s++) {
        char path[80], line[256];
        size_t sections = 0, exceptions = 0, compared = 0;
        build(&list, &shapes[s]);
        snprintf(path, sizeof path, "recipes/%s.schema", shapes[s].file);
        FILE *file = fopen(extra_data(path), "r");
        assert_non_null(file);
        section.open = false;
        while (fgets(line, sizeof line, file) != NULL) {
            char a[128], b[32];
            if (sscanf(line, "[%31[^]]] %31s", a, b) == 2) {
                compared += check_section(&list, &section, shapes[s].file);
                memcpy(section.name, a, sizeof section.name);
                memcpy(section.base, b, sizeof section.base);
                for (size_t i = 0; i < list.count; i++) {
                    section.expected[i] = uqff_type_by_name(b)->id;
                }
                section.open = true;
                sections++;
            } else if (line[0] != '#' && sscanf(line, "%127s %31s", a, b) == 2) {
                section.expected[find(&list, a)] = uqff_type_by_name(b)->id;
                exceptions++;
            }
        }
        compared += check_section(&list, &section, shapes[s].file);
        fclose(file);
        assert_int_equal(sections, 33);
        assert_true(exceptions > 1000);
        assert_int_equal(compared, sections * list.count);
    }
}

/* ---- a small model against what llama-quantize made of it ------------------------------------ */

static void test_storyteller(void **state) {
    (void)state;
    static struct tensor_list list;
    static struct uqff_choice choices[2048];
    build(&list, &(struct shape){"", "llama", 256, 512, 4, 2, 64, 0, 4, false});
    FILE *file = fopen(test_data("storyteller/llama-quantize.tsv"), "r");
    assert_non_null(file);
    char line[256], recipe[32], imatrix[8], tensor[64], type[16], previous[32] = "";
    size_t recipes = 0, compared = 0;
    assert_non_null(fgets(line, sizeof line, file)); /* the heading */
    while (fgets(line, sizeof line, file) != NULL) {
        assert_int_equal(sscanf(line, "%31s %7s %63s %15s", recipe, imatrix, tensor, type), 4);
        struct uqff_error err;
        if (strcmp(recipe, previous) != 0) {
            struct uqff_quant quant;
            list.model.has_importance = strcmp(imatrix, "no") != 0;
            assert_ok(uqff_quant_parse(recipe, &quant, &err), &err);
            assert_ok(uqff_recipe_choose(&quant, &list.model, list.tensors, list.count, &no_options,
                                         choices, &err),
                      &err);
            memcpy(previous, recipe, sizeof previous);
            recipes++;
        }
        if (strstr(tensor, "_norm.") == NULL) {
            const uint32_t found = choices[find(&list, tensor)].type;
            assert_string_equal(uqff_type_info(found)->name, type);
            compared++;
        }
    }
    fclose(file);
    assert_int_equal(recipes, 19);
    assert_int_equal(compared, 19 * list.count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_models),
        cmocka_unit_test(test_storyteller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
