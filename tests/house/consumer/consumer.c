/* A program of somebody else's: links the libraries and calls one function of each. */
#include <stdio.h>
#include <string.h>

#include <uqff/pack.h>

int main(void) {
    struct uqff_quant quant;
    struct uqff_error err;
    struct uqff_model *model = NULL;
    if (uqff_quant_parse("Q4_K_M", &quant, &err) != UQFF_OK || strcmp(quant.name, "q4_k_m") != 0) {
        return 1;
    }
    if (uqff_model_open("/nonexistent", NULL, &model, &err) != UQFF_E_NOT_FOUND) {
        return 2;
    }
    printf("uqff %s, %s, %u bits: %s\n", uqff_version(), uqff_type_name(UQFF_TYPE_Q4_K),
           uqff_dtype_bits(UQFF_DTYPE_F6_E2M3), uqff_gguf_kind_name(UQFF_GGUF_U8));
    return 0;
}
