/* version: which uqff this is, and what it runs on. */
#include "version.h"

#include <stdio.h>

#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <xxhash.h>
#include <zlib.h>

#include "uqff/quant.h"

void version_print(const struct cli *cli) {
    printf("uqff %s\n", uqff_version());
    if (!cli->verbose) {
        return;
    }
    char pcre2[64] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
    const unsigned xxhash = XXH_versionNumber();
    printf("cJSON %s\n", cJSON_Version());
    printf("OpenSSL %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    printf("PCRE2 %s\n", pcre2);
    printf("xxHash %u.%u.%u\n", xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
    printf("zlib %s\n", zlibVersion());
    printf("instruction set: found %s, chosen %s\n", uqff_cpu_level_name(uqff_cpu_found()),
           uqff_cpu_level_name(uqff_cpu_level()));
    printf("threads: %u\n", uqff_available_threads());
}
