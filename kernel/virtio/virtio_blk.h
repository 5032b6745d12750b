/* virtio-blk devices (virtio 1.2, section 5.2) behind kernel/blockdev.h. */
#pragma once

/*
 * Finds and starts the devices there are, the first BLOCKDEV_DEVICES_MAX of them, and logs a line
 * for each. One that does not start is left out, with the reason in the log. Called once, before
 * kernel_boot_is_over().
 */
void blockdev_init(void);
