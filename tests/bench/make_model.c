/* make_model: writes a synthetic model, see synthetic.h. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/synthetic.h"

static void usage(FILE *out) {
    fprintf(
        out,
        "usage: make_model DIRECTORY [--size BYTES] [--arch NAME] [--hidden N] [--ff N]\n"
        "         [--layers N] [--heads N] [--kv-heads N] [--head-dim N] [--vocab N]\n"
        "         [--experts N] [--experts-used N] [--dtype f32|f16|bf16]\n"
        "         [--max-shard BYTES] [--seed N] [--sparse]\n"
        "Writes a Hugging Face directory with made-up weights. --size chooses the dimensions of\n"
        "a Llama of about that size; options behind it change single ones. Architectures:");
    for (const char *const *name = synthetic_architectures(); *name != NULL; name++) {
        fprintf(out, " %s", *name);
    }
    fprintf(out, "\n");
}

int main(int argc, char **argv) {
    struct synthetic model = {.architecture = "llama",
                              .hidden = 2048,
                              .feed_forward = 5632,
                              .layers = 22,
                              .heads = 32,
                              .kv_heads = 4,
                              .head_dim = 64,
                              .vocabulary = 32000,
                              .dtype = UQFF_DTYPE_BF16,
                              .seed = 1};
    enum { ARCH = 256, DTYPE, SIZE, SHARD, SPARSE, HELP };
    static const struct option options[] = {{"hidden", 1, NULL, 0},
                                            {"ff", 1, NULL, 1},
                                            {"layers", 1, NULL, 2},
                                            {"heads", 1, NULL, 3},
                                            {"kv-heads", 1, NULL, 4},
                                            {"head-dim", 1, NULL, 5},
                                            {"vocab", 1, NULL, 6},
                                            {"experts", 1, NULL, 7},
                                            {"experts-used", 1, NULL, 8},
                                            {"seed", 1, NULL, 9},
                                            {"arch", 1, NULL, ARCH},
                                            {"dtype", 1, NULL, DTYPE},
                                            {"size", 1, NULL, SIZE},
                                            {"max-shard", 1, NULL, SHARD},
                                            {"sparse", 0, NULL, SPARSE},
                                            {"help", 0, NULL, HELP},
                                            {0}};
    uint64_t *const numbers[] = {
        &model.hidden,   &model.feed_forward, &model.layers,  &model.heads,        &model.kv_heads,
        &model.head_dim, &model.vocabulary,   &model.experts, &model.experts_used, &model.seed};
    struct uqff_error err;
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        uint64_t bytes = 0;
        if (option >= 0 && option < 10) {
            *numbers[option] = strtoull(optarg, NULL, 10);
            continue;
        }
        switch (option) {
        case ARCH:
            model.architecture = optarg;
            break;
        case DTYPE:
            model.dtype = strcmp(optarg, "f32") == 0   ? UQFF_DTYPE_F32
                          : strcmp(optarg, "f16") == 0 ? UQFF_DTYPE_F16
                                                       : UQFF_DTYPE_BF16;
            break;
        case SIZE:
        case SHARD:
            if (uqff_parse_bytes(optarg, &bytes, &err) != UQFF_OK) {
                fprintf(stderr, "make_model: %s\n", err.text);
                return 2;
            }
            if (option == SIZE) {
                synthetic_for_bytes(&model, bytes);
            } else {
                model.max_shard = bytes;
            }
            break;
        case SPARSE:
            model.sparse = true;
            break;
        case HELP:
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind + 1 != argc) {
        usage(stderr);
        return 2;
    }
    if (synthetic_write(&model, argv[optind], &err) != UQFF_OK) {
        fprintf(stderr, "make_model: %s\n", err.text);
        return 1;
    }
    return 0;
}
