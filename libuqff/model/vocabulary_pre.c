/* Split rules: llama.cpp's names for them, and the regular expressions that they stand for. */
#include <string.h>

#include "model/vocabulary.h"

/* The expressions as tokenizer.json files write them. */
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define MARK " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define BLANK "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_TAIL(contraction, digits)                                                            \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" contraction "|"                                   \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" contraction "|" digits                            \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANK
#define PLAIN_CONTRACTION "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define ASCII_MARK "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
#define CJK "[一-龥぀-ゟ゠-ヿ]+"
#define CASED_LETTER                                                                               \
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ"                                   \
    "-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫ"                     \
    "ᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-"       \
    "ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-"     \
    "ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-"     \
    "ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-"     \
    "𑣟𞤀-"                                                                                    \
    "𞥃"

const char uqff_vocab_gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| "
                                       "?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
#define GPT2 uqff_vocab_gpt2_pattern

static const char llama3[] = CONTRACTION "|" WORD "|\\p{N}{1,3}|" MARK "|" BLANK;
static const char llama3_plain[] = PLAIN_CONTRACTION "|" WORD "|\\p{N}{1,3}|" MARK "|" BLANK;
static const char cl100k[] = "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| "
                             "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
static const char qwen2[] = CONTRACTION "|" WORD "|\\p{N}|" MARK "|" BLANK;
static const char qwen2_plain[] = PLAIN_CONTRACTION "|" WORD "|\\p{N}|" MARK "|" BLANK;
static const char bailing[] = "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
                              "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
static const char qwen35[] = CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                                         "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANK;
static const char tekken[] = CASED_TAIL("", "\\p{N}");
static const char gpt4o[] = CASED_TAIL(CONTRACTION "?", "\\p{N}{1,3}");
static const char deepseek3[] = ASCII_MARK
    "[A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" BLANK;
static const char seed_coder[] =
    CONTRACTION "|" WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" BLANK;
static const char bloom[] = " ?[^(\\s|.,!?…。，、।۔،)]+";

enum { MAX_PATTERNS = 7 };

/* What a name implies for a GGUF that does not say. */
enum implied { NOTHING = 0, IGNORES_MERGES = 1, ADDS_BOS = 2 };

struct split_rule {
    const char *name;
    const char *patterns[MAX_PATTERNS]; /* NULL behind the last */
    unsigned implied;
    /* Names that share their patterns with others are told apart by a token that the vocabulary
     * has, or by its putting BOS first (""). NULL: the name that is left. */
    const char *marker;
};

#define ONE(pattern)                                                                               \
    { pattern }

/* The first row that fits gives the name for a tokenizer.json; names lower down with the same
 * patterns are known from GGUF files only. */
static const struct split_rule rules[] = {
    {"llama-bpe", ONE(llama3), IGNORES_MERGES | ADDS_BOS, ""},
    {"smaug-bpe", ONE(llama3), NOTHING, NULL},
    {"smaug-bpe", ONE(llama3_plain), NOTHING, NULL},
    {"dbrx", ONE(cl100k), NOTHING, NULL},
    {"deepseek-r1-qwen", ONE(qwen2), NOTHING, "<｜begin▁of▁sentence｜>"},
    {"qwen2", ONE(qwen2), NOTHING, NULL},
    {"qwen2", ONE(qwen2_plain), NOTHING, NULL},
    {"qwen35", ONE(qwen35), NOTHING, NULL},
    {"gpt-2", ONE(GPT2), NOTHING, NULL},
    {"starcoder", {"\\p{N}", GPT2}, NOTHING, "<fim_prefix>"},
    {"smollm", {"\\p{N}", GPT2}, NOTHING, NULL},
    {"tekken", ONE(tekken), IGNORES_MERGES | ADDS_BOS, NULL},
    {"llama4", ONE(gpt4o), NOTHING, "<|begin_of_text|>"},
    {"gpt-4o", ONE(gpt4o), NOTHING, NULL},
    {"deepseek-v3", {"\\p{N}{1,3}", CJK, deepseek3}, NOTHING, NULL},
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?[" CASED_LETTER "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$",
      "[一-龥ࠀ-一가-퟿]+", "\\p{N}+"},
     NOTHING,
     NULL},
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?[" CASED_LETTER "]+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$",
      "[一-龥ࠀ-一가-퟿]+", "\\p{N}"},
     NOTHING,
     NULL},
    {"deepseek-coder",
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}"},
     NOTHING,
     NULL},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, NOTHING, NULL},
    {"seed-coder", ONE(seed_coder), NOTHING, NULL},
    {"bailingmoe", ONE(bailing), NOTHING, NULL},
    {"bloom", ONE(bloom), NOTHING, NULL},
    {"viking", {bloom, "\\p{N}"}, NOTHING, NULL},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, NOTHING, NULL},
    {"chameleon",
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", GPT2},
     ADDS_BOS,
     NULL},
    {"superbpe", {"\\p{N}+", "(?=(\\d{3})+(?!\\d))"}, NOTHING, NULL},
    {"tiny_aya", {"\\d{1,3}(?=(?:\\d{3})*\\b)", gpt4o}, NOTHING, NULL},
    {"ufakzeka", ONE(WORD "|\\p{N}|" MARK "|" BLANK), NOTHING, NULL},
    {"laguna", {"[^\\n]+|[\\n]+", qwen2}, NOTHING, NULL},
    {"minicpm5",
     {"\\p{N}{1,3}", CONTRACTION "|" WORD "|\\p{N}+|" MARK "|" BLANK},
     IGNORES_MERGES,
     NULL},
};

/* Further names of the same rules. */
static const struct {
    const char *name, *rule;
} aliases[] = {
    {"llama3", "llama-bpe"},
    {"llama-v3", "llama-bpe"},
    {"falcon3", "llama-bpe"},
    {"falcon-h1", "llama-bpe"},
    {"pixtral", "llama-bpe"},
    {"midm-2.0", "llama-bpe"},
    {"lfm2", "llama-bpe"},
    {"jina-v5-nano", "llama-bpe"},
    {"glm4", "smaug-bpe"},
    {"chatglm-bpe", "smaug-bpe"},
    {"stablelm2", "qwen2"},
    {"megrez", "qwen2"},
    {"hunyuan", "qwen2"},
    {"solar-open", "qwen2"},
    {"grok-2", "qwen2"},
    {"kormo", "qwen2"},
    {"f2llmv2", "qwen2"},
    {"phi-2", "gpt-2"},
    {"mpt", "gpt-2"},
    {"olmo", "gpt-2"},
    {"jais", "gpt-2"},
    {"gigachat", "gpt-2"},
    {"jina-es", "gpt-2"},
    {"jina-de", "gpt-2"},
    {"jina-v2-es", "gpt-2"},
    {"jina-v2-de", "gpt-2"},
    {"jina-v1-en", "gpt-2"},
    {"jina-v2-code", "gpt-2"},
    {"roberta-bpe", "gpt-2"},
    {"modern-bert", "gpt-2"},
    {"a.x-4.0", "gpt-2"},
    {"mellum", "gpt-2"},
    {"exaone4", "gpt-2"},
    {"trillion", "gpt-2"},
    {"granite-docling", "gpt-2"},
    {"refact", "smollm"},
    {"command-r", "smollm"},
    {"codeshell", "smollm"},
    {"exaone", "smollm"},
    {"minerva-7b", "smollm"},
    {"mellum2", "smollm"},
    {"kanana2", "gpt-4o"},
    {"talkie", "gpt-4o"},
    {"minimax-m2", "gpt-4o"},
    {"hunyuan-dense", "deepseek-v3"},
    {"joyai-llm", "deepseek-v3"},
    {"hy_v4", "deepseek-v3"},
    {"poro-chat", "bloom"},
    {"gpt3-finnish", "bloom"},
    {"bailingmoe2", "bailingmoe"},
    {"llada-moe", "bailingmoe"},
    {"cohere2moe", "tiny_aya"},
};

enum { RULES = sizeof rules / sizeof *rules, ALIASES = sizeof aliases / sizeof *aliases };

static size_t pattern_count(const struct split_rule *rule) {
    size_t n = 0;
    while (n < MAX_PATTERNS && rule->patterns[n] != NULL) {
        n++;
    }
    return n;
}

enum uqff_code uqff_vocab_pre_by_name(struct uqff_vocabulary *v, const char *given,
                                      struct uqff_error *err) {
    const char *name = given == NULL ? "default" : given;
    for (size_t i = 0; i < ALIASES; i++) {
        name = strcmp(name, aliases[i].name) == 0 ? aliases[i].rule : name;
    }
    v->info.pre = given == NULL ? "default" : uqff_arena_copy(&v->arena, given, strlen(given));
    if (v->info.pre == NULL) {
        return uqff_fail_memory(err);
    }
    for (size_t i = 0; i < RULES; i++) {
        if (strcmp(rules[i].name, name) == 0) {
            v->info.pre_known = true;
            v->info.patterns = rules[i].patterns;
            v->info.pattern_count = pattern_count(&rules[i]);
            v->info.ignore_merges = (rules[i].implied & IGNORES_MERGES) != 0;
            v->info.add_bos = (rules[i].implied & ADDS_BOS) != 0;
            return UQFF_OK;
        }
    }
    return uqff_vocab_unsupported(v, err, "the split rule '%.100s'", given);
}

/* Some files have line ends in their patterns as they are, where others have \r and \n. */
static bool same_pattern(const char *known, const char *found) {
    for (; *known != 0; known++, found++) {
        char raw = known[0] != '\\' ? 0 : known[1] == 'r' ? '\r' : known[1] == 'n' ? '\n' : 0;
        if (raw != 0 && *found == raw) {
            known++;
        } else if (*known != *found) {
            return false;
        }
    }
    return *found == 0;
}

static bool fits(const struct uqff_vocabulary *v, const struct split_rule *rule) {
    if (pattern_count(rule) != v->info.pattern_count) {
        return false;
    }
    for (size_t i = 0; i < v->info.pattern_count; i++) {
        if (!same_pattern(rule->patterns[i], v->info.patterns[i])) {
            return false;
        }
    }
    if (rule->marker == NULL) {
        return true;
    }
    return *rule->marker == 0 ? v->info.add_bos
                              : uqff_vocab_find(v, rule->marker, strlen(rule->marker)) != NULL;
}

void uqff_vocab_pre_by_patterns(struct uqff_vocabulary *v) {
    for (size_t i = 0; i < RULES; i++) {
        if (fits(v, &rules[i])) {
            v->info.pre = rules[i].name;
            v->info.pre_known = true;
            return;
        }
    }
    v->info.pre = "default";
    v->info.pre_known = false;
}

bool uqff_vocab_pattern_covers(const char *pattern) {
    const char *const covering[] = {llama3, llama3_plain, cl100k, qwen2,   qwen2_plain,
                                    qwen35, tekken,       gpt4o,  bailing, GPT2};
    for (size_t i = 0; i < sizeof covering / sizeof *covering; i++) {
        if (same_pattern(covering[i], pattern)) {
            return true;
        }
    }
    return false;
}
