/* version: which uqff this is, and what it runs on. */
#include "version.h"

#include <stdio.h>

#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <zlib.h>

#include "json.h"

#include "uqff/quant.h"

enum { LIBRARIES = 6 };

struct library {
    const char *name;
    char version[64];
};

static void list_libraries(struct library out[LIBRARIES]) {
    const unsigned xxhash = XXH_versionNumber();
    out[0].name = "cJSON";
    snprintf(out[0].version, sizeof out[0].version, "%s", cJSON_Version());
    out[1].name = "OpenSSL";
    snprintf(out[1].version, sizeof out[1].version, "%s", OpenSSL_version(OPENSSL_VERSION_STRING));
    out[2].name = "PCRE2";
    pcre2_config(PCRE2_CONFIG_VERSION, out[2].version); /* at most 24 characters */
    out[3].name = "utf8proc";
    snprintf(out[3].version, sizeof out[3].version, "%s", utf8proc_version());
    out[4].name = "xxHash";
    snprintf(out[4].version, sizeof out[4].version, "%u.%u.%u", xxhash / 10000, xxhash / 100 % 100,
             xxhash % 100);
    out[5].name = "zlib";
    snprintf(out[5].version, sizeof out[5].version, "%s", zlibVersion());
}

enum uqff_code version_print(struct cli *cli, struct uqff_error *err) {
    struct library libraries[LIBRARIES];
    const char *found = uqff_cpu_level_name(uqff_cpu_found());
    const char *chosen = uqff_cpu_level_name(uqff_cpu_level());
    list_libraries(libraries);
    if (cli->json) {
        cJSON *document = json_document_of("uqff.version/1");
        json_text(document, "version", uqff_version());
        cJSON *list = json_object(document, "libraries");
        for (size_t i = 0; i < LIBRARIES; i++) {
            json_text(list, libraries[i].name, libraries[i].version);
        }
        json_text(document, "found", found);
        json_text(document, "chosen", chosen);
        json_u64(document, "threads", uqff_available_threads());
        return json_print(cli, document, err);
    }
    printf("uqff %s\n", uqff_version());
    if (cli->verbose) {
        for (size_t i = 0; i < LIBRARIES; i++) {
            printf("%s %s\n", libraries[i].name, libraries[i].version);
        }
        printf("instruction set: found %s, chosen %s\n", found, chosen);
        printf("threads: %u\n", uqff_available_threads());
    }
    return UQFF_OK;
}
