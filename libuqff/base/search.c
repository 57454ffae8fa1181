#include "uqff/base.h"

bool uqff_search(const void *key, const void *items, size_t count, uqff_order *order,
                 size_t *place) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int side = order(key, items, middle);
        if (side == 0) {
            *place = middle;
            return true;
        }
        if (side < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *place = low;
    return false;
}
