/* Segments that lwIP, or reply.c in its place, has queued; and questions to a PCB about them. */
#pragma once

#include <stdbool.h>

#include "lwip/priv/tcp_priv.h"

/* Whether the data of a segment is the application's: its memory is hardly any. */
static inline bool segment_is_kept(const struct tcp_seg *segment)
{
    return (segment->p->flags & PBUF_FLAG_IS_CUSTOM) != 0;
}

/* tcp_seg_free(), at once for what reply_send() made and the device is done with. */
void segment_free(struct tcp_seg *segment);

/* True while something waits to be sent or acknowledged, if only a FIN. */
static inline bool pcb_has_output(const struct tcp_pcb *pcb)
{
    return pcb->unacked != NULL || pcb->unsent != NULL;
}

/*
 * The same of octets: a FIN does not count. (It is last, in a segment of its own or with the last
 * octets.)
 */
static inline bool pcb_has_unacknowledged_data(const struct tcp_pcb *pcb)
{
    return (pcb->unacked != NULL && pcb->unacked->len > 0) ||
           (pcb->unsent != NULL && pcb->unsent->len > 0);
}
