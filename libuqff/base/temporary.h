/* Files and directories that a signal handler may have to remove. */
#ifndef UQFF_BASE_TEMPORARY_H
#define UQFF_BASE_TEMPORARY_H

#include "uqff/base.h"

enum { UQFF_TEMPORARY_MOST = 16384, UQFF_TEMPORARY_NONE = -1 };

/* Has the handler remove `name` in `directory`, a descriptor that stays open until it is disarmed.
 * The name has at most 255 bytes; it is copied. UQFF_TEMPORARY_NONE when there are too many. */
int uqff_temporary_arm(int directory, const char *name);
void uqff_temporary_disarm(int slot); /* UQFF_TEMPORARY_NONE is fine */

#endif
