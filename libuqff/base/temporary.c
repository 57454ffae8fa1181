#include "base/temporary.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/os.h"

/* A slot goes FREE -> BUSY -> ARMED -> BUSY -> FREE. Only who moved it to BUSY touches the rest of
 * it, so a handler that claims an armed slot can use the name without a lock. */
enum { SLOT_FREE, SLOT_BUSY, SLOT_ARMED };

static bool claim(atomic_int *state, int from) {
    /* Looked at first, so that walking over free slots writes to none. */
    return atomic_load(state) == from && atomic_compare_exchange_strong(state, &from, SLOT_BUSY);
}

/* ---- files ----------------------------------------------------------------------------------- */

static struct slot {
    atomic_int state;
    int directory;
    char name[NAME_MAX + 1];
} slots[UQFF_TEMPORARY_MOST];

/* Where the search for a free slot begins: below it none is free, but for a race that costs a
 * longer search and nothing else. */
static atomic_int first_free;

int uqff_temporary_arm(int directory, const char *name) {
    int start = atomic_load(&first_free);
    for (int k = 0; k < UQFF_TEMPORARY_MOST; k++) {
        int i = (start + k) % UQFF_TEMPORARY_MOST;
        if (claim(&slots[i].state, SLOT_FREE)) {
            slots[i].directory = directory;
            memcpy(slots[i].name, name, strlen(name) + 1);
            atomic_store(&slots[i].state, SLOT_ARMED);
            atomic_store(&first_free, i + 1);
            return i;
        }
    }
    return UQFF_TEMPORARY_NONE;
}

void uqff_temporary_disarm(int slot) {
    /* A slot that cannot be claimed belongs to the handler, which ends the program. */
    if (slot != UQFF_TEMPORARY_NONE && claim(&slots[slot].state, SLOT_ARMED)) {
        atomic_store(&slots[slot].state, SLOT_FREE);
        if (slot < atomic_load(&first_free)) {
            atomic_store(&first_free, slot);
        }
    }
}

/* ---- folders --------------------------------------------------------------------------------- */

/* A run makes a folder and perhaps some within it. One more than these is left to the handler's
 * user: it is empty and harms nothing. */
enum { FOLDERS = 64 };

static struct folder_slot {
    atomic_int state;
    const char *path; /* of the folder that is made, which does not free it before the slot */
} folder_slots[FOLDERS];

struct uqff_folder {
    struct folder_slot *slot; /* NULL: none was free */
    char path[];
};

static struct folder_slot *arm_folder(const char *path) {
    for (size_t i = 0; i < FOLDERS; i++) {
        if (claim(&folder_slots[i].state, SLOT_FREE)) {
            folder_slots[i].path = path;
            atomic_store(&folder_slots[i].state, SLOT_ARMED);
            return &folder_slots[i];
        }
    }
    return NULL;
}

static void folder_free(struct uqff_folder *folder) {
    if (folder->slot != NULL) {
        if (!claim(&folder->slot->state, SLOT_ARMED)) {
            return; /* the handler is reading the path, and ends the program */
        }
        atomic_store(&folder->slot->state, SLOT_FREE);
    }
    uqff_free(folder);
}

enum uqff_code uqff_folder_make(const char *path, struct uqff_folder **out,
                                struct uqff_error *err) {
    if (uqff_path_is_directory(path)) {
        *out = NULL;
        return UQFF_OK;
    }
    size_t n = strlen(path);
    struct uqff_folder *folder = uqff_alloc(sizeof *folder + n + 1);
    if (folder == NULL) {
        return uqff_fail_memory(err);
    }
    memcpy(folder->path, path, n + 1);
    /* Before it exists, so that there is no moment at which a signal would miss it. */
    folder->slot = arm_folder(folder->path);
    if (mkdir(path, 0777) == 0) {
        *out = folder;
        return UQFF_OK;
    }
    int number = errno;
    folder_free(folder);
    if (number == EEXIST && uqff_path_is_directory(path)) {
        *out = NULL; /* somebody else was quicker */
        return UQFF_OK;
    }
    return uqff_fail_system(err, UQFF_E_WRITE, UQFF_NO_OFFSET, number, path,
                            "cannot make the directory");
}

void uqff_folder_close(struct uqff_folder *folder, bool keep) {
    if (folder == NULL) {
        return;
    }
    if (!keep) {
        rmdir(folder->path); /* fails, as it should, when somebody has put a file there */
    }
    folder_free(folder);
}

/* ---- the handler's part ---------------------------------------------------------------------- */

static void remove_folders(void) {
    bool ours[FOLDERS], again = true;
    for (size_t i = 0; i < FOLDERS; i++) {
        ours[i] = claim(&folder_slots[i].state, SLOT_ARMED);
    }
    /* One that holds another goes in the round after it. */
    while (again) {
        again = false;
        for (size_t i = 0; i < FOLDERS; i++) {
            if (ours[i] && rmdir(folder_slots[i].path) == 0) {
                ours[i] = false;
                again = true;
            }
        }
    }
}

void uqff_sink_remove_all_temporary(void) {
    int number = errno; /* the interrupted code's */
    for (int i = 0; i < UQFF_TEMPORARY_MOST; i++) {
        if (claim(&slots[i].state, SLOT_ARMED)) {
            uqff_os.unlink(slots[i].directory, slots[i].name);
        }
    }
    remove_folders();
    errno = number;
}
