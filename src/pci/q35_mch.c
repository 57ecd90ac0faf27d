// SPDX-License-Identifier: Apache-2.0
/*
 * The memory controller hub of Q35 (datasheet §5.1). PCIEXBAR decides where configuration space lies in memory. The PAM
 * registers keep what firmware writes without an effect: RAM below 1 MiB is RAM at all times. There is no SMRAM.
 */
#include "internal.h"
#include "pci/classes.h"
#include "pci/q35.h"

#define MCH_DEVICE_ID 0x29c0

#define MCH_PCIEXBAR 0x60 /* 64 bits */
#define PCIEXBAR_ENABLE 1u
#define PCIEXBAR_LENGTH(value) ((value) >> 1 & 3)
#define PCIEXBAR_LENGTHS 3	      /* 256, 128 and 64 MiB; 3 is reserved */
#define PCIEXBAR_WRITABLE 0xffc000007ULL /* bits 35 to 26, length, enable; the length masks base bits */
#define MCH_PAM0 0x90
#define MCH_PAM_COUNT 7
#define PAM_WRITABLE 0x33u

struct q35_mch {
	struct pci_device pci;
	pthread_mutex_t lock; /* serializes what follows a write to PCIEXBAR */
	void (*moved)(void *opaque, gpa_t base, uint64_t size); /* NULL: nobody cares */
	void *opaque;
};

static struct q35_mch *to_mch(struct device *dev)
{
	return container_of(dev, struct q35_mch, pci.dev);
}

static void place_ecam(struct pci_function *fn)
{
	struct q35_mch *mch = container_of(fn, struct q35_mch, pci.fn);

	uint64_t value, size;
	gpa_t base;

	/* Read under the lock: of two vCPUs that write it, the later one finds both writes. */
	pthread_mutex_lock(&mch->lock);
	value = pci_config_read(fn, MCH_PCIEXBAR, 4) |
		(uint64_t)pci_config_read(fn, MCH_PCIEXBAR + 4, 4) << 32;
	size = PCIEXBAR_LENGTH(value) < PCIEXBAR_LENGTHS ? Q35_ECAM_SIZE >> PCIEXBAR_LENGTH(value) : 0;
	if (!(value & PCIEXBAR_ENABLE))
		size = 0;
	base = size ? ALIGN_DOWN(value, size) : 0;
	if (!pci_host_set_ecam(fn->host, base, size) && mch->moved)
		mch->moved(mch->opaque, base, size);
	pthread_mutex_unlock(&mch->lock);
}

static void mch_written(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t old)
{
	(void)old;
	if (ranges_meet(offset, size, MCH_PCIEXBAR, 8))
		place_ecam(fn);
}

static const struct pci_function_ops mch_ops = {
	.config_written = mch_written,
};

void q35_mch_setup(struct device *mch)
{
	struct pci_function *fn = &to_mch(mch)->pci.fn;

	pci_config_set(fn, MCH_PCIEXBAR, 4, (uint32_t)Q35_ECAM_BASE | PCIEXBAR_ENABLE);
	place_ecam(fn);
}

void q35_mch_watch(struct device *dev, void (*moved)(void *opaque, gpa_t base, uint64_t size), void *opaque)
{
	to_mch(dev)->moved = moved;
	to_mch(dev)->opaque = opaque;
}

/* The window itself goes with pci_host_reset(). */
static void mch_reset(struct device *dev)
{
	pci_function_reset(&to_mch(dev)->pci.fn);
}

static int mch_realize(struct device *dev, struct error **errp)
{
	static const struct pci_ids ids = {
		.vendor = PCI_VENDOR_INTEL,
		.device = MCH_DEVICE_ID,
		.subsystem_vendor = PCI_VENDOR_REDHAT_QUMRANET,
		.subsystem = PCI_SUBDEVICE_QEMU,
		.class = PCI_CLASS_BRIDGE_HOST,
	};
	struct pci_device *pci = &to_mch(dev)->pci;
	int ret;

	pthread_mutex_init(&to_mch(dev)->lock, NULL);
	pci_function_init(&pci->fn, dev, &ids, &mch_ops);
	pci_config_set_writable(&pci->fn, MCH_PCIEXBAR, 4, (uint32_t)PCIEXBAR_WRITABLE);
	pci_config_set_writable(&pci->fn, MCH_PCIEXBAR + 4, 4, PCIEXBAR_WRITABLE >> 32);
	for (unsigned int i = 0; i < MCH_PAM_COUNT; i++)
		pci_config_set_writable(&pci->fn, MCH_PAM0 + i, 1, i ? PAM_WRITABLE : 0x30);
	ret = pci_function_attach(&pci->fn, &pci->place, errp);
	if (ret) {
		pci_function_release(&pci->fn);
		pthread_mutex_destroy(&to_mch(dev)->lock);
	}
	return ret;
}

static void mch_unrealize(struct device *dev)
{
	pci_device_unrealize(dev);
	pthread_mutex_destroy(&to_mch(dev)->lock);
}

static const struct property mch_props[] = {
	PCI_PLACE_PROPS(struct q35_mch, pci.place),
	PROP_END,
};

const struct device_class q35_mch_class = {
	.name = "mch",
	.summary = "memory controller hub of the Q35 chipset",
	.bus = DEVICE_BUS_PCI,
	.internal = true,
	.instance_size = sizeof(struct q35_mch),
	.props = mch_props,
	.realize = mch_realize,
	.unrealize = mch_unrealize,
	.reset = mch_reset,
};
