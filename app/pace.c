#include "app/pace.h"

bool pace_is_due(struct pace *pace, bool worked, uint64_t now_ns)
{
    pace->worked = pace->worked || worked;
    if (now_ns < pace->due_ns)
        return false;
    const bool is_due = !pace->worked || now_ns - pace->looked_ns >= PACE_BUSY_NS;
    pace->due_ns = now_ns + pace->idle_ns;
    pace->worked = false;
    if (is_due)
        pace->looked_ns = now_ns;
    return is_due;
}
