// SPDX-License-Identifier: Apache-2.0
/*
 * The LPC bridge of the ICH9 (datasheet §13): where the PM registers are, PCI interrupts to PIRQ lines and from there
 * to IOAPIC and PIC, and the reset control register.
 */
#define LOG_MODULE "ich9"

#include <errno.h>
#include <string.h>

#include "ich9_pm.h"
#include "internal.h"
#include "pci/classes.h"

#define LPC_DEVICE_ID 0x2918
#define LPC_REVISION 2

/* Configuration space, §13.1 */
#define LPC_PMBASE 0x40
#define PMBASE_WRITABLE 0xff80u
#define PMBASE_IO 1u
#define LPC_ACPI_CNTL 0x44
#define ACPI_CNTL_ENABLE 0x80u
#define LPC_PIRQA 0x60 /* A to D; E to H from 0x68 on */
#define LPC_PIRQE 0x68
#define PIRQ_WRITABLE 0x8f
#define PIRQ_OFF 0x80 /* not to the PIC */
#define LPC_SERIRQ 0x64
#define LPC_DECODE 0x80 /* 12 bytes: kept without an effect */
#define LPC_DECODE_SIZE 12
#define LPC_GEN_PMCON 0xa0
#define LPC_GEN_PMCON_SIZE 6
#define LPC_RCBA 0xf0
#define RCBA_ENABLE 1u
#define RCBA_WRITABLE 0xffffc001u

/* Behind RCBA, §10.1: device interrupt route registers, slots 25 to 31. */
#define RCBA_SIZE 0x4000
#define RCBA_D31IR 0x3140
#define RCBA_DIR_FIRST RCBA_D31IR
#define RCBA_DIR_END 0x3152
#define DIR_DEFAULT 0x3210
#define DIR_WRITABLE 0x7777
#define SLOTS_FIXED 25 /* slots below it go to PIRQE to H, as on QEMU's q35 */
#define DIRS 7

#define PIC_IRQS 16
#define PIC_IRQS_FREE 0xdef8u /* ICH9 §13.1.17: all but 0, 1, 2, 8 and 13 */

struct ich9_lpc {
	struct pci_device pci;
	struct ich9_pm pm;
	uint8_t disable_s3, disable_s4; /* sleep states: there are none but S5, power off */
	struct irq_line pirq[ICH9_PIRQS], pic[PIC_IRQS];
	_Atomic uint16_t dir[DIRS]; /* of slots 25 … 31 */

	pthread_mutex_t map_lock; /* serializes what follows a write to configuration space; guards: */
	struct io_region rcba;
	bool rcba_mapped;

	pthread_mutex_t irq_lock; /* leaf; guards: */
	uint8_t pirq_level;	  /* bit n: line n */
	uint8_t pirq_route[ICH9_PIRQS];
	bool sci;
	uint16_t pic_level;
	struct log_limit limit;
};

static struct ich9_lpc *to_lpc(struct device *dev)
{
	return container_of(dev, struct ich9_lpc, pci.dev);
}

/* --- Interrupts ------------------------------------------------------------------- */

static void update_pic_locked(struct ich9_lpc *lpc)
{
	uint16_t level = lpc->sci ? 1u << ICH9_SCI_GSI : 0;

	for (unsigned int i = 0; i < ICH9_PIRQS; i++)
		if ((lpc->pirq_level & 1u << i) && !(lpc->pirq_route[i] & PIRQ_OFF))
			level |= (uint16_t)(1u << (lpc->pirq_route[i] & 0xf) & PIC_IRQS_FREE);
	for (unsigned int i = 0; i < PIC_IRQS; i++)
		if ((level ^ lpc->pic_level) & 1u << i)
			irq_set(&lpc->pic[i], level & 1u << i);
	lpc->pic_level = level;
}

void ich9_lpc_set_pirq(struct device *dev, unsigned int line, bool level)
{
	struct ich9_lpc *lpc = to_lpc(dev);

	if (line >= ICH9_PIRQS)
		return;
	pthread_mutex_lock(&lpc->irq_lock);
	lpc->pirq_level = (uint8_t)((lpc->pirq_level & ~(1u << line)) | (unsigned int)level << line);
	irq_set(&lpc->pirq[line], level);
	update_pic_locked(lpc);
	pthread_mutex_unlock(&lpc->irq_lock);
}

static void set_sci(struct ich9_pm *pm, bool level)
{
	struct ich9_lpc *lpc = container_of(pm, struct ich9_lpc, pm);

	pthread_mutex_lock(&lpc->irq_lock);
	lpc->sci = level;
	update_pic_locked(lpc);
	pthread_mutex_unlock(&lpc->irq_lock);
}

unsigned int ich9_lpc_irq_map(struct device *dev, unsigned int slot, unsigned int pin)
{
	struct ich9_lpc *lpc = to_lpc(dev);

	if (slot < SLOTS_FIXED)
		return 4 + (slot + pin) % PCI_INTX_PINS;
	return lpc->dir[slot - SLOTS_FIXED] >> pin * 4 & 7;
}

const uint8_t ich9_pirq_registers[ICH9_PIRQS] = {
	LPC_PIRQA, LPC_PIRQA + 1, LPC_PIRQA + 2, LPC_PIRQA + 3, LPC_PIRQE, LPC_PIRQE + 1, LPC_PIRQE + 2, LPC_PIRQE + 3,
};

static void read_routes(struct ich9_lpc *lpc)
{
	struct pci_function *fn = &lpc->pci.fn;
	uint8_t route[ICH9_PIRQS];

	pthread_mutex_lock(&lpc->map_lock);
	for (unsigned int i = 0; i < ICH9_PIRQS; i++)
		route[i] = (uint8_t)pci_config_read(fn, ich9_pirq_registers[i], 1);
	pthread_mutex_lock(&lpc->irq_lock);
	memcpy(lpc->pirq_route, route, sizeof(route));
	update_pic_locked(lpc);
	pthread_mutex_unlock(&lpc->irq_lock);
	pthread_mutex_unlock(&lpc->map_lock);
}

/* --- The root complex register block: interrupt routes of slots 25 to 31 ------------ */

/* D31IR, D30IR … D27IR, a gap, D26IR, a gap, D25IR. -1: none of them. */
static int dir_at(uint64_t offset)
{
	static const uint16_t at[DIRS] = { 0x3150, 0x314c, 0x3148, 0x3146, 0x3144, 0x3142, RCBA_D31IR };

	for (int i = 0; i < DIRS; i++)
		if (offset == at[i])
			return i;
	return -1;
}

static uint64_t rcba_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ich9_lpc *lpc = opaque;
	int dir = size == 2 ? dir_at(offset) : -1;

	return dir >= 0 ? lpc->dir[dir] : 0;
}

struct dir_change {
	struct ich9_lpc *lpc;
	int dir;
	uint16_t value;
};

static void change_dir(void *opaque)
{
	struct dir_change *change = opaque;

	change->lpc->dir[change->dir] = change->value;
}

static void rcba_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct ich9_lpc *lpc = opaque;
	struct dir_change change = {
		.lpc = lpc,
		.dir = size == 2 ? dir_at(offset) : -1,
		.value = (uint16_t)(value & DIR_WRITABLE),
	};

	if (change.dir >= 0)
		pci_host_reroute(lpc->pci.fn.host, change_dir, &change);
}

static const struct io_ops rcba_ops = {
	.read = rcba_read,
	.write = rcba_write,
	.max_size = 2,
};

/* The register is read under the lock: of two vCPUs that write it, the later one finds both writes. */
static void place_rcba(struct ich9_lpc *lpc)
{
	struct mem_space *space = lpc->pci.dev.platform->space;
	struct error *err = NULL;
	uint32_t value;

	pthread_mutex_lock(&lpc->map_lock);
	value = pci_config_read(&lpc->pci.fn, LPC_RCBA, 4);
	if (lpc->rcba_mapped)
		mem_space_del_io(space, &lpc->rcba);
	lpc->rcba_mapped = false;
	if (value & RCBA_ENABLE) {
		lpc->rcba.base = value & ~(RCBA_SIZE - 1u);
		if (mem_space_add_io(space, &lpc->rcba, &err)) {
			log_warn_limited(&lpc->limit, "RCBA: %s", error_text(err));
			error_free(err);
		} else {
			lpc->rcba_mapped = true;
		}
	}
	pthread_mutex_unlock(&lpc->map_lock);
}

/* --- Configuration space ------------------------------------------------------------ */

static void place_pm(struct ich9_lpc *lpc)
{
	struct pci_function *fn = &lpc->pci.fn;
	uint32_t base;

	pthread_mutex_lock(&lpc->map_lock);
	base = pci_config_read(fn, LPC_PMBASE, 4) & PMBASE_WRITABLE;
	if (!(pci_config_read(fn, LPC_ACPI_CNTL, 1) & ACPI_CNTL_ENABLE))
		base = 0;
	ich9_pm_map(&lpc->pm, (uint16_t)base);
	pthread_mutex_unlock(&lpc->map_lock);
}

static void lpc_written(struct pci_function *fn, unsigned int offset, unsigned int size, uint32_t old)
{
	struct ich9_lpc *lpc = container_of(fn, struct ich9_lpc, pci.fn);

	(void)old;
	if (ranges_meet(offset, size, LPC_PMBASE, 8))
		place_pm(lpc);
	if (ranges_meet(offset, size, LPC_PIRQA, 4) || ranges_meet(offset, size, LPC_PIRQE, 4))
		read_routes(lpc);
	if (ranges_meet(offset, size, LPC_RCBA, 4))
		place_rcba(lpc);
}

static const struct pci_function_ops lpc_ops = {
	.config_written = lpc_written,
};

static void init_config(struct pci_function *fn)
{
	pci_config_set(fn, LPC_PMBASE, 4, PMBASE_IO);
	pci_config_set_writable(fn, LPC_PMBASE, 4, PMBASE_WRITABLE);
	pci_config_set_writable(fn, LPC_ACPI_CNTL, 1, ACPI_CNTL_ENABLE);
	for (unsigned int i = 0; i < 4; i++) {
		pci_config_set(fn, LPC_PIRQA + i, 1, PIRQ_OFF);
		pci_config_set(fn, LPC_PIRQE + i, 1, PIRQ_OFF);
		pci_config_set_writable(fn, LPC_PIRQA + i, 1, PIRQ_WRITABLE);
		pci_config_set_writable(fn, LPC_PIRQE + i, 1, PIRQ_WRITABLE);
	}
	pci_config_set(fn, LPC_SERIRQ, 1, 0x10);
	pci_config_set_writable(fn, LPC_SERIRQ, 1, 0xff);
	for (unsigned int i = 0; i < LPC_DECODE_SIZE; i++)
		pci_config_set_writable(fn, LPC_DECODE + i, 1, 0xff);
	for (unsigned int i = 0; i < LPC_GEN_PMCON_SIZE; i++)
		pci_config_set_writable(fn, LPC_GEN_PMCON + i, 1, 0xff);
	pci_config_set_writable(fn, LPC_RCBA, 4, RCBA_WRITABLE);
}

/* --- The reset control register ------------------------------------------------------- */

#define RST_CNT_RESET 0x04  /* RST_CPU: a rising edge resets */
#define RST_CNT_STORED 0x0a /* SYS_RST, FULL_RST */

static uint64_t reset_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct ich9_reset_control *control = opaque;

	(void)size;
	return offset == ICH9_RESET_PORT - 0xcf8 ? control->value : 0;
}

static void reset_write(void *opaque, uint64_t offset, uint64_t value, unsigned int size)
{
	struct ich9_reset_control *control = opaque;

	(void)size;
	if (offset != ICH9_RESET_PORT - 0xcf8)
		return;
	control->value = value & RST_CNT_STORED;
	if (value & RST_CNT_RESET)
		control->platform->request(control->platform, GUEST_RESET, 0, "guest-reset");
}

const struct io_ops ich9_reset_ops = {
	.read = reset_read,
	.write = reset_write,
	.max_size = 1,
};

/* --- Life -------------------------------------------------------------------------------- */

void ich9_lpc_setup(struct device *dev)
{
	struct ich9_lpc *lpc = to_lpc(dev);

	pci_config_set(&lpc->pci.fn, LPC_PMBASE, 4, ICH9_PM_BASE | PMBASE_IO);
	pci_config_set(&lpc->pci.fn, LPC_ACPI_CNTL, 1, ACPI_CNTL_ENABLE);
	place_pm(lpc);
}

void ich9_lpc_power_button(struct device *dev)
{
	ich9_pm_power_button(&to_lpc(dev)->pm);
}

void ich9_lpc_set_gpe(struct device *dev, unsigned int bit)
{
	ich9_pm_set_gpe(&to_lpc(dev)->pm, bit);
}

static void default_dirs(void *opaque)
{
	struct ich9_lpc *lpc = opaque;

	for (unsigned int i = 0; i < DIRS; i++)
		lpc->dir[i] = DIR_DEFAULT;
}

static void lpc_reset(struct device *dev)
{
	struct ich9_lpc *lpc = to_lpc(dev);

	pci_function_reset(&lpc->pci.fn);
	/* Functions that are reset after this one may hold lines up. */
	pci_host_reroute(lpc->pci.fn.host, default_dirs, lpc);
	place_rcba(lpc);
	read_routes(lpc);
	ich9_pm_reset(&lpc->pm);
}

static int lpc_realize(struct device *dev, struct error **errp)
{
	static const struct pci_ids ids = {
		.vendor = PCI_VENDOR_INTEL,
		.device = LPC_DEVICE_ID,
		.subsystem_vendor = PCI_VENDOR_REDHAT_QUMRANET,
		.subsystem = PCI_SUBDEVICE_QEMU,
		.class = PCI_CLASS_BRIDGE_ISA,
		.revision = LPC_REVISION,
	};
	struct ich9_lpc *lpc = to_lpc(dev);
	struct accel *accel = dev->platform->accel;
	int ret;

	if (!lpc->disable_s3 || !lpc->disable_s4)
		return error_set(errp, -ENOTSUP, "%s=0: there is no suspend to %s, the only ACPI sleep state is power off",
				 lpc->disable_s3 ? "disable_s4" : "disable_s3", lpc->disable_s3 ? "disk" : "memory");
	for (unsigned int i = 0; i < ICH9_PIRQS; i++)
		irq_line_init_level(&lpc->pirq[i], accel, ICH9_PIRQ_GSI + i);
	for (unsigned int i = 0; i < PIC_IRQS; i++)
		irq_line_init_level(&lpc->pic[i], accel, i);
	default_dirs(lpc);
	memset(lpc->pirq_route, PIRQ_OFF, sizeof(lpc->pirq_route));
	lpc->rcba = (struct io_region){
		.name = "ich9-rcba",
		.kind = IO_MMIO,
		.size = RCBA_SIZE,
		.ops = &rcba_ops,
		.opaque = lpc,
	};
	ret = ich9_pm_init(&lpc->pm, dev->platform, set_sci, errp);
	if (ret)
		return ret;
	pthread_mutex_init(&lpc->map_lock, NULL);
	pthread_mutex_init(&lpc->irq_lock, NULL);
	pci_function_init(&lpc->pci.fn, dev, &ids, &lpc_ops);
	init_config(&lpc->pci.fn);
	ret = pci_function_attach(&lpc->pci.fn, &lpc->pci.place, errp);
	if (ret) {
		pci_function_release(&lpc->pci.fn);
		ich9_pm_release(&lpc->pm);
		pthread_mutex_destroy(&lpc->irq_lock);
		pthread_mutex_destroy(&lpc->map_lock);
	}
	return ret;
}

static void lpc_unrealize(struct device *dev)
{
	struct ich9_lpc *lpc = to_lpc(dev);

	if (lpc->rcba_mapped)
		mem_space_del_io(dev->platform->space, &lpc->rcba);
	pci_device_unrealize(dev);
	ich9_pm_release(&lpc->pm);
	for (unsigned int i = 0; i < ICH9_PIRQS; i++)
		irq_line_release(&lpc->pirq[i]);
	for (unsigned int i = 0; i < PIC_IRQS; i++)
		if (lpc->pic_level & 1u << i)
			irq_line_release(&lpc->pic[i]);
	pthread_mutex_destroy(&lpc->irq_lock);
	pthread_mutex_destroy(&lpc->map_lock);
}

static const struct property lpc_props[] = {
	PCI_PLACE_PROPS(struct ich9_lpc, pci.place),
	PROP_UINT(8, "disable_s3", struct ich9_lpc, disable_s3, 0, 1, 1, "0 is refused: there is no suspend to memory"),
	PROP_UINT(8, "disable_s4", struct ich9_lpc, disable_s4, 0, 1, 1, "0 is refused: there is no suspend to disk"),
	PROP_END,
};

const struct device_class ich9_lpc_class = {
	.name = "ICH9-LPC",
	.summary = "LPC bridge of the ICH9: power management and interrupt routing",
	.bus = DEVICE_BUS_PCI,
	.internal = true,
	.instance_size = sizeof(struct ich9_lpc),
	.props = lpc_props,
	.realize = lpc_realize,
	.unrealize = lpc_unrealize,
	.reset = lpc_reset,
};
