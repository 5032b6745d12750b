#include "app/shortage.h"

enum shortage_change shortage_look(struct shortage *shortage, uint64_t counter, uint64_t now_ns)
{
    const uint64_t counted = shortage->counted;
    if (counter != counted) {
        const bool began = !shortage->lasts;
        if (began)
            shortage->before = counted;
        shortage->lasts = true;
        shortage->counted = counter;
        shortage->grown_ns = now_ns;
        return began ? SHORTAGE_BEGAN : SHORTAGE_SAME;
    }
    if (!shortage->lasts || now_ns - shortage->grown_ns < SHORTAGE_QUIET_NS)
        return SHORTAGE_SAME;
    shortage->lasts = false;
    return SHORTAGE_ENDED;
}

uint64_t shortage_extent(const struct shortage *shortage)
{
    return shortage->counted - shortage->before;
}
