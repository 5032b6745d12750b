#include "net/tcp/segment.h"

#include "net/core/pool.h"

__attribute__((noinline, flatten)) void segment_free(struct tcp_seg *segment)
{
    struct pbuf *const p = segment->p;
    if (p->ref == 1 && p->next == NULL && p->flags == 0) {
        pool_free(p);
        pool_free(segment);
    } else {
        tcp_seg_free(segment);
    }
}
