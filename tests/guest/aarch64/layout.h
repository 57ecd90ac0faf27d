/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers shared by the assembly and the C half of the aarch64 guest; the machine's are those of docs/architecture.md. */
#ifndef GUEST_AARCH64_LAYOUT_H
#define GUEST_AARCH64_LAYOUT_H

#define CPU_MAX 256
#define STACK_SIZE 4096

#define GICD_BASE 0x08000000
#define GICR_BASE 0x080a0000
#define GICR2_BASE 0x7f80000000
#define SERIAL_BASE 0x09000000
#define SERIAL_SPI 7
#define RTC_BASE 0x09010000
#define GPIO_BASE 0x09030000
#define VIRTIO_BASE 0x0a000000
#define VIRTIO_SPI 32
/* Nothing is there. */
#define HOLE 0x0b000000

#endif
