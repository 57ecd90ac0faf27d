// SPDX-License-Identifier: Apache-2.0
/*
 * Build tool: makes seccomp filters of the tables in src/seccomp/rules.c. It runs on the build machine and writes for the
 * architecture in its first argument.
 *
 *	compile ARCH         C arrays of struct sock_filter, filter_<kind>[], on stdout
 *	compile ARCH list    the rules as text: "kind call [arg mask value meaning] [answer]", a line each
 *
 * The default action is SECCOMP_RET_TRAP, so that the process can say what was refused; a call of a foreign architecture
 * kills.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../src/seccomp/rules.h"

static void die(const char *what, const char *name, int err)
{
	fprintf(stderr, "seccomp/compile: %s %s: %s\n", what, name, strerror(-err));
	exit(1);
}

static void add_rule(scmp_filter_ctx ctx, uint32_t arch, const struct rule *rule)
{
	struct scmp_arg_cmp test =
		SCMP_CMP(rule->arg, SCMP_CMP_MASKED_EQ, rule->mask, rule->value);
	int nr = seccomp_syscall_resolve_name_arch(arch, rule->call);
	uint32_t answer = rule->answer == RULE_ZERO ? 0 : (uint32_t)rule->answer;
	uint32_t action = rule->answer ? SCMP_ACT_ERRNO(answer) : SCMP_ACT_ALLOW;
	int ret;

	if (nr < 0) /* not there on this architecture */
		die("no such system call:", rule->call, -ENOSYS);
	/* The library takes numbers of the machine it runs on, and translates them. */
	ret = seccomp_rule_add_array(ctx, action, seccomp_syscall_resolve_name(rule->call), rule->mask ? 1 : 0, &test);
	if (ret && ret != -EEXIST)
		die("rule", rule->call, ret);
}

static void write_filter(const struct rule_table *table, uint32_t arch)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	FILE *file = tmpfile();
	struct sock_filter insn;
	int ret;

	if (!ctx || !file)
		die("cannot begin", table->kind, -ENOMEM);
	if (arch != seccomp_arch_native()) {
		ret = seccomp_arch_add(ctx, arch);
		if (!ret)
			ret = seccomp_arch_remove(ctx, seccomp_arch_native());
		if (ret)
			die("architecture for", table->kind, ret);
	}
	seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree of call numbers */
	for (const struct rule *const *part = table->parts; *part; part++)
		for (const struct rule *rule = *part; rule->call; rule++)
			add_rule(ctx, arch, rule);
	ret = seccomp_export_bpf(ctx, fileno(file));
	if (ret)
		die("export of", table->kind, ret);
	rewind(file);
	printf("static const struct sock_filter filter_%s[] = {\n", table->kind);
	while (fread(&insn, sizeof(insn), 1, file) == 1)
		printf("\t{ 0x%04x, %u, %u, 0x%08x },\n", insn.code, insn.jt, insn.jf, insn.k);
	printf("};\n");
	fclose(file);
	seccomp_release(ctx);
}

static void list_rules(const struct rule_table *table)
{
	for (const struct rule *const *part = table->parts; *part; part++) {
		for (const struct rule *rule = *part; rule->call; rule++) {
			printf("%s %s", table->kind, rule->call);
			if (rule->mask)
				printf(" %u 0x%llx 0x%llx %s", rule->arg, (unsigned long long)rule->mask,
				       (unsigned long long)rule->value, rule->meaning);
			if (rule->answer)
				printf(" errno=%d", rule->answer == RULE_ZERO ? 0 : rule->answer);
			printf("\n");
		}
	}
}

int main(int argc, char **argv)
{
	uint32_t arch = argc > 1 ? seccomp_arch_resolve_name(argv[1]) : 0;

	if (!arch) {
		fprintf(stderr, "usage: compile ARCH [list]\n");
		return 1;
	}
	if (argc == 2)
		printf("/* Made by tools/seccomp/compile.c of src/seccomp/rules.c. */\n");
	for (size_t i = 0; i < sizeof(rule_tables) / sizeof(rule_tables[0]); i++) {
		if (argc > 2)
			list_rules(&rule_tables[i]);
		else
			write_filter(&rule_tables[i], arch);
	}
	return 0;
}
