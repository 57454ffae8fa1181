/* Chat templates: any text parses or says where not; what parses renders within the limits. */
#include "fuzz/fuzz.h"
#include "uqff/validation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char variables[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\","
        "\"content\":\"a\\\"b\"}],\"bos_token\":\"<s>\",\"add_generation_prompt\":true,\"n\":3}";
    struct uqff_template *tmpl = NULL;
    struct uqff_error err;
    if (uqff_template_open((const char *)data, size, "template", &tmpl, &err) != UQFF_OK) {
        require_printable(&err);
        return 0;
    }
    struct uqff_buffer out = {0};
    if (uqff_template_render(tmpl, variables, sizeof variables - 1, &out, &err) != UQFF_OK) {
        require_printable(&err);
    }
    uqff_buffer_free(&out);
    uqff_template_close(tmpl);
    return 0;
}
