/* SPDX-License-Identifier: Apache-2.0 */
/* ACPICA's compiler as a judge of ACPI tables. */
#ifndef TEST_IASL_H
#define TEST_IASL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "util/macros.h"

struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __packed;

/* Runs iasl in @dir; its output goes to @output. Returns its status. */
static inline int iasl(const char *dir, const char *args, char *output, size_t size)
{
	char command[256];
	size_t len;
	FILE *pipe;

	snprintf(command, sizeof(command), "cd '%s' && timeout 60 iasl %s 2>&1", dir, args);
	pipe = popen(command, "r");
	ck_assert_ptr_nonnull(pipe);
	len = fread(output, 1, size - 1, pipe);
	output[len] = '\0';
	return pclose(pipe);
}

static inline void write_table(const char *dir, const char *name, const struct acpi_header *table)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(table, table->length, 1, file), 1);
	ck_assert_int_eq(fclose(file), 0);
}

/* Byte for byte what we wrote, but for checksum and the compiler's own name and version. */
static inline void compare_table(const char *dir, const char *name,
				 const struct acpi_header *table)
{
	struct acpi_header *again = malloc(table->length + 1u);
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
	file = fopen(path, "re");
	ck_assert_msg(file != NULL, "iasl wrote no %s", path);
	ck_assert_uint_eq(fread(again, 1, table->length + 1u, file), table->length);
	fclose(file);
	again->checksum = table->checksum;
	memcpy(again->creator, table->creator, sizeof(again->creator));
	again->creator_revision = table->creator_revision;
	ck_assert_msg(!memcmp(again, table, table->length), "%s: compiled again, it differs", name);
	free(again);
}

static inline void check_with_iasl(const char *dir, const char *name,
				   const struct acpi_header *table, const char *label)
{
	static char output[1 << 20];
	char args[128];
	int status;

	write_table(dir, name, table);
	snprintf(args, sizeof(args), "-d %s.dat", name);
	status = iasl(dir, args, output, sizeof(output));
	ck_assert_msg(status == 0 && !strstr(output, "Warning") && !strstr(output, "Error"),
		      "%s, %s: disassembly: %s", label, name, output);
	snprintf(args, sizeof(args), "%s.dsl", name);
	status = iasl(dir, args, output, sizeof(output));
	ck_assert_msg(status == 0, "%s, %s: compilation: %s", label, name, output);
	/*
	 * Data tables end with "Compilation successful" too, but count only errors when there are
	 * some.
	 */
	ck_assert_msg(strstr(output, "0 Errors, 0 Warnings, 0 Remarks") ||
			      (strstr(output, "Compilation successful. 0 Errors") &&
			       !strstr(output, "Warning ") && !strstr(output, "Remark ")),
		      "%s, %s: %s", label, name, output);
	compare_table(dir, name, table);
}

#endif
