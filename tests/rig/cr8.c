/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/*
 * For L1's kernel: KVM on SVM intercepts every write of CR8, not only those that could unmask an interrupt.
 *
 * Without an intercept such a write is the business of the virtual interrupt logic, and QEMU's TCG, up to 11.1 at least, ends
 * itself there while an interrupt waits: it raises it without the big lock. Linux does not write CR8; UEFI firmware does
 * after every interrupt. svm_update_cr8_intercept(vcpu, tpr, irr) asks for the intercept when tpr >= irr.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static int always(struct kprobe *probe, struct pt_regs *regs)
{
	regs->si = 15; /* tpr */
	regs->dx = 0;  /* irr */
	return 0;
}

static struct kprobe cr8_probe = {
	.symbol_name = "svm_update_cr8_intercept",
	.pre_handler = always,
};

static int __init cr8_init(void)
{
	return register_kprobe(&cr8_probe);
}

module_init(cr8_init);
MODULE_DESCRIPTION("UEFI guests below KVM below QEMU's TCG");
MODULE_LICENSE("Dual MIT/GPL");
