/* manual: walks the tables of commands and options. */
#include "manual.h"

#include <stdio.h>
#include <string.h>

#include "uqff/pack.h"

static const char *const model_text[] = {
    "A MODEL is a Hugging Face directory, a .safetensors file or index, a .gguf file (the first of "
    "a "
    "split set), a .uqff file (a multi-quant file, one shard of a plain UQFF 1.x set, or UQFF 0.x "
    "beside its config.json), or a directory of .uqff files or of one GGUF. MODEL#NAME names one "
    "variant of a multi-quant file, or one quantization of a directory that holds several.",
    "A QUANT, in any case, is one of three things. A name that llama.cpp has as a file type (q4_0, "
    "q8_0, q6_k, q4_k_m; q3_k, q4_k and q5_k mean their _m) stands for llama.cpp's recipe: it "
    "decides a type for each tensor. mistral.rs's spelling without underscore (q2k … q6k), or "
    "mistralrs:TYPE, is that type for all tensors, with mistral.rs's promotion of embedding and "
    "head. Any other type (q8_1, f32, …) is that type for all tensors, with llama.cpp's list of "
    "what "
    "is never quantized.",
    "A SIZE is a number with a unit: K, M, G and T, or KiB and so on, are powers of 1024; KB, MB, "
    "GB "
    "and TB are powers of 1000; B or nothing is bytes. It is at least one byte, as an N is at "
    "least "
    "1: what stands for the default is to leave the option out.",
    NULL,
};

static const struct example exit_codes[] = {
    {"0", "Success; equal; verified."},
    {"1", "The command ran, and its answer is no: it differs, verification failed, or "
          "a gate was not kept."},
    {"2",
     "Usage: an unknown option or quant, an output that exists without --force, an output that "
     "is an input."},
    {"3", "The input is malformed or not supported."},
    {"4", "Input or output failed: missing, not permitted, disk full; or memory ran out."},
    {"5", "The network failed, or a reference to a model in the network is not supported."},
    {"70", "A bug in uqff."},
    {"128+n", "Ended by signal n. Temporary files are removed."},
    {NULL, NULL},
};

static const struct example environment[] = {
    {"UQFF_CPU",
     "Instruction set to use at most: ref, avx2, neon or avx512. The results are the same."},
    {"NO_COLOR", "When not empty, there is no colour."},
    {"TERM", "When it is dumb, there is no colour and no progress bar."},
    {"CI", "When not empty, progress comes as lines, not as a bar."},
    {"COLUMNS", "Width of the terminal."},
    {"SOURCE_DATE_EPOCH",
     "The time that \"uqff run --chat\" tells a template, in seconds since 1970."},
    {NULL, NULL},
};

enum { OPTION_WIDTH = 30 }; /* the column where the text of options begins */

char common_letter(const struct command *command, const struct option *option) {
    if (command != NULL) {
        for (const struct option *o = command->options; o->name != NULL; o++) {
            if (o->letter == option->letter) {
                return 0;
            }
        }
    }
    return option->letter;
}

static bool has_visible(const struct option *options) {
    for (const struct option *o = options; o->name != NULL; o++) {
        if (o->help != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_common(const struct option *option) {
    for (const struct option *o = common_options; o->name != NULL; o++) {
        if (o == option) {
            return true;
        }
    }
    return false;
}

const char *manual_option_head(char *out, size_t capacity, const struct command *command,
                               const struct option *option) {
    char letter = is_common(option) ? common_letter(command, option) : option->letter;
    if (letter != 0) {
        snprintf(out, capacity, "-%c, --%s%s%s", letter, option->name,
                 option->argument == NULL ? "" : " ",
                 option->argument == NULL ? "" : option->argument);
    } else {
        snprintf(out, capacity, "    --%s%s%s", option->name, option->argument == NULL ? "" : " ",
                 option->argument == NULL ? "" : option->argument);
    }
    return out;
}

static void render_options(struct renderer *r, const struct command *command,
                           const struct option *options) {
    r->item_width = OPTION_WIDTH;
    for (const struct option *o = options; o->name != NULL; o++) {
        char head[128], text[1024];
        if (o->help == NULL) {
            continue;
        }
        if (o->fallback != NULL) {
            snprintf(text, sizeof text, "%s (default: %s)", o->help, o->fallback);
        } else {
            snprintf(text, sizeof text, "%s", o->help);
        }
        r->item(r, manual_option_head(head, sizeof head, command, o), text);
    }
}

static void render_paragraphs(struct renderer *r, const char *const *paragraphs) {
    for (; *paragraphs != NULL; paragraphs++) {
        if (strncmp(*paragraphs, "  ", 2) == 0) {
            r->verbatim(r, *paragraphs);
        } else {
            r->paragraph(r, *paragraphs);
        }
    }
}

/* The text of items begins behind the longest head, but no further right than that of options. */
static void fit_heads(struct renderer *r, size_t longest) {
    r->item_width = longest + 4 < OPTION_WIDTH ? longest + 4 : OPTION_WIDTH;
}

static void render_items(struct renderer *r, const struct example *items) {
    size_t longest = 0;
    for (const struct example *i = items; i->command != NULL; i++) {
        longest = strlen(i->command) > longest ? strlen(i->command) : longest;
    }
    fit_heads(r, longest);
    for (; items->command != NULL; items++) {
        r->item(r, items->command, items->text);
    }
}

const char *manual_usage(char *out, size_t capacity, const struct command *command) {
    if (command == NULL) {
        snprintf(out, capacity, "uqff [OPTION…] COMMAND [ARGUMENT…]");
        return out;
    }
    size_t used = (size_t)snprintf(out, capacity, "uqff %s%s%s [OPTION…]", command->name,
                                   command->needs == NULL ? "" : " ",
                                   command->needs == NULL ? "" : command->needs);
    for (const struct positional *p = command->positionals; p->name != NULL; p++) {
        if (used < capacity) {
            used +=
                (size_t)snprintf(out + used, capacity - used, " %s%s%s%s", p->optional ? "[" : "",
                                 p->name, p->many ? "…" : "", p->optional ? "]" : "");
        }
    }
    return out;
}

static void render_positionals(struct renderer *r, const struct command *command) {
    size_t longest = 0;
    for (const struct positional *p = command->positionals; p->name != NULL; p++) {
        longest = strlen(p->name) > longest ? strlen(p->name) : longest;
    }
    fit_heads(r, longest);
    for (const struct positional *p = command->positionals; p->name != NULL; p++) {
        r->item(r, p->name, p->help);
    }
}

static void render_commands(struct renderer *r) {
    fit_heads(r, strlen("completion"));
    for (const struct command *const *c = commands; *c != NULL; c++) {
        r->item(r, (*c)->name, (*c)->summary);
    }
}

static void short_program(struct renderer *r) {
    r->section(r, "Commands");
    render_commands(r);
    r->section(r, "Common options");
    render_options(r, NULL, common_options);
    r->paragraph(
        r, "\"uqff COMMAND --help\" lists the options of a command; \"uqff help COMMAND\" tells "
           "all about it, and \"uqff help uqff\" about models, quants and exit codes.");
}

void manual_short(struct renderer *r, const struct command *command) {
    char usage[256], line[280];
    manual_usage(usage, sizeof usage, command);
    snprintf(line, sizeof line, "usage: %s", usage);
    uqff_buffer_printf(r->out, "%s\n", line);
    if (command == NULL) {
        r->paragraph(
            r, "Packs models into verified, quantized releases, and reads all that such releases "
               "are made of.");
        short_program(r);
        return;
    }
    char summary[256];
    snprintf(summary, sizeof summary, "%s.", command->summary);
    r->paragraph(r, summary);
    if (command->positionals[0].name != NULL) {
        r->section(r, "Arguments");
        render_positionals(r, command);
    }
    if (has_visible(command->options)) {
        r->section(r, "Options");
        render_options(r, command, command->options);
    }
    r->section(r, "Common options");
    render_options(r, command, common_options);
    char hint[128];
    snprintf(hint, sizeof hint, "\"uqff help %s\" tells more, with examples.", command->name);
    r->paragraph(r, hint);
}

/* The names that can be asked for, as the library lists them. */
static void render_quants(struct renderer *r) {
    struct uqff_buffer text = {0};
    size_t count;
    const char *const *names = uqff_quant_names(&count);
    uqff_buffer_printf(&text, "The names are");
    for (size_t i = 0; i < count; i++) {
        if (strchr(names[i], ':') == NULL) {
            uqff_buffer_printf(&text, "%s %s", i == 0 ? "" : ",", names[i]);
        }
    }
    uqff_buffer_printf(&text, ". A type may stand behind mistralrs:, as in mistralrs:q4_0.");
    if (!text.failed) {
        r->paragraph(r, text.data);
    }
    uqff_buffer_free(&text);
}

static void render_examples(struct renderer *r, const struct example *examples) {
    for (; examples->command != NULL; examples++) {
        char text[512];
        r->paragraph(r, examples->text);
        snprintf(text, sizeof text, "    $ %s", examples->command);
        r->verbatim(r, text);
    }
}

static void render_see_also(struct renderer *r, const struct command *command) {
    struct uqff_buffer text = {0};
    uqff_buffer_printf(&text, "%s", command == NULL ? "" : "uqff(1)");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        if (*c != command) {
            uqff_buffer_printf(&text, "%suqff-%s(1)", text.size == 0 ? "" : ", ", (*c)->name);
        }
    }
    if (!text.failed) {
        r->paragraph(r, text.data);
    }
    uqff_buffer_free(&text);
}

void manual_full(struct renderer *r, const struct command *command) {
    char usage[256], page[64];
    manual_usage(usage, sizeof usage, command);
    if (command == NULL) {
        r->begin(r, "uqff", "pack, read and verify quantized models");
    } else {
        snprintf(page, sizeof page, "uqff-%s", command->name);
        char summary[256];
        snprintf(summary, sizeof summary, "%s", command->summary);
        if (summary[0] >= 'A' && summary[0] <= 'Z') {
            summary[0] = (char)(summary[0] - 'A' + 'a');
        }
        r->begin(r, page, summary);
    }
    r->section(r, "SYNOPSIS");
    r->paragraph(r, usage);
    r->section(r, "DESCRIPTION");
    if (command == NULL) {
        r->paragraph(
            r,
            "uqff turns a trained model into a verified, quantized release, and reads everything "
            "that such releases are made of: safetensors, GGUF, UQFF as mistral.rs writes it, and "
            "multi-quant UQFF, which holds several quantizations of one model in one file.");
        render_paragraphs(r, model_text);
        render_quants(r);
        r->section(r, "COMMANDS");
        render_commands(r);
    } else {
        render_paragraphs(r, command->description);
        if (command->positionals[0].name != NULL) {
            r->section(r, "ARGUMENTS");
            render_positionals(r, command);
        }
        if (has_visible(command->options)) {
            r->section(r, "OPTIONS");
            render_options(r, command, command->options);
        }
    }
    r->section(r, "COMMON OPTIONS");
    render_options(r, command, common_options);
    if (command != NULL && command->json != NULL) {
        r->section(r, "JSON");
        render_paragraphs(r, command->json);
    }
    if (command != NULL && command->examples[0].command != NULL) {
        r->section(r, "EXAMPLES");
        render_examples(r, command->examples);
    }
    r->section(r, "EXIT STATUS");
    render_items(r, exit_codes);
    if (command == NULL) {
        r->section(r, "ENVIRONMENT");
        render_items(r, environment);
    }
    r->section(r, "SEE ALSO");
    render_see_also(r, command);
}
