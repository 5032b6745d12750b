/*
 * Every way in which the device of fake_virtio_net.h can break its contract. Include it after that
 * one: what the driver makes of each is told by its name there and in net/.
 */
#pragma once

#include "tests/unit/fake_virtio_net.h"

static void write_header(uint16_t id, uint16_t buffers)
{
    *(struct virtio_net_header *)(uintptr_t)fake.queues[0].desc[id].address =
        (struct virtio_net_header){.num_buffers = buffers};
}

static void lie_id_out_of_range(void)
{
    device_use(0, 256, 100);
}

static void lie_id_huge(void)
{
    device_use(0, 0x80000001u, 100);
}

static void lie_index_jumps(void)
{
    fake.queues[0].used->idx = (uint16_t)(fake.queues[0].used->idx + 257);
}

static void lie_index_goes_back(void)
{
    fake.queues[0].used->idx = (uint16_t)(receive.q.used_next - 1);
}

static void lie_repeated(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 1);
    device_use(0, id, 100);
    device_use(0, id, 100);
}

/* Which holds the first that it ever was given. */
static void lie_id_held_by_the_receiver(void)
{
    device_use(0, 0, 100);
}

static void lie_longer_than_the_buffer(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 1);
    device_use(0, id, SLOT + 1);
}

static void lie_longest(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 1);
    device_use(0, id, 0xffffffffu);
}

static void lie_less_than_a_header(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 1);
    device_use(0, id, 11);
}

static void lie_no_buffers(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 0);
    device_use(0, id, 100);
}

static void lie_never_completes(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 3);
    device_use(0, id, SLOT);
    device_use(0, device_take(0), SLOT);
    device_use(0, device_take(0), 100); /* written, but not shown */
    fake.queues[0].used->idx--;
}

static void lie_too_many_buffers(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 65);
    device_use(0, id, SLOT);
    for (unsigned i = 0; i < 64; i++)
        device_use(0, device_take(0), SLOT);
}

static void lie_repeated_within_a_frame(void)
{
    const uint16_t id = device_take(0), other = device_take(0);
    write_header(id, 3);
    device_use(0, id, SLOT);
    device_use(0, other, SLOT);
    device_use(0, other, SLOT);
}

static void lie_too_long_within_a_frame(void)
{
    const uint16_t id = device_take(0);
    write_header(id, 2);
    device_use(0, id, SLOT);
    device_use(0, device_take(0), SLOT + 1);
}

static void lie_about_a_transmit_id(void)
{
    uint32_t free = 0;

    while (transmit.q.chain[free] != 0)
        free++;
    device_use(1, free, 0);
}

static void lie_about_the_transmit_index(void)
{
    fake.queues[1].used->idx = 300;
}

static void (*const lies[])(void) = {
    lie_id_out_of_range,
    lie_id_huge,
    lie_index_jumps,
    lie_index_goes_back,
    lie_repeated,
    lie_id_held_by_the_receiver,
    lie_longer_than_the_buffer,
    lie_longest,
    lie_less_than_a_header,
    lie_no_buffers,
    lie_never_completes,
    lie_too_many_buffers,
    lie_repeated_within_a_frame,
    lie_too_long_within_a_frame,
    lie_about_a_transmit_id,
    lie_about_the_transmit_index,
};
