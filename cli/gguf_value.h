/* Metadata of GGUF as a command line gives it: KEY=TYPE:VALUE. */
#ifndef UQFF_CLI_GGUF_VALUE_H
#define UQFF_CLI_GGUF_VALUE_H

#include "command.h"

#include "uqff/gguf.h"

/* What TYPE and VALUE may be, for the help of a command. */
#define GGUF_VALUE_HELP                                                                            \
    "TYPE is u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool or str. A VALUE is a number, "   \
    "true or false, or the text of a string as it stands; f32 and f64 also take nan, inf and "     \
    "-inf. TYPE[] takes an array in JSON, as in 'sizes=u32[]:[1, 2]'."

/* Splits "LEFT=RIGHT" at the first '='; UQFF_E_ARGUMENT naming `option` when there is none, or
 * nothing before it. *left lives in the arena, *right points into `text`. */
enum uqff_code gguf_value_split(struct cli *cli, const char *option, const char *text,
                                const char **left, const char **right,
                                struct uqff_error *err) UQFF_MUST_CHECK;
/* Sets "KEY=TYPE:VALUE" in a layout. Errors name `option`. */
enum uqff_code gguf_value_set(struct cli *cli, struct uqff_gguf_layout *layout, const char *option,
                              const char *text, struct uqff_error *err) UQFF_MUST_CHECK;

#endif
