// SPDX-License-Identifier: Apache-2.0
/* JSON as tables and aligned members. What a guest or a file name may have put into a string does
 * not reach the terminal. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "util/alloc.h"

#define TABLE_WIDTH_MAX 140
#define COLUMNS_MAX 32
#define INDENT 2

void print_text(const char *text, bool lines, FILE *out)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (lines && c == '\r' && text[1] == '\n') /* monitors for people end lines so */
			continue;
		if ((c < 0x20 && !(lines && (c == '\n' || c == '\t'))) || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			fputc(c, out);
	}
}

/* Caller frees. */
static char *clean(const char *text)
{
	char *made = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&made, &size);

	if (!out)
		return xstrdup("");
	print_text(text, false, out);
	fclose(out);
	return made;
}

static bool is_object(struct json_object *value)
{
	return json_object_is_type(value, json_type_object);
}

static bool is_list(struct json_object *value)
{
	return json_object_is_type(value, json_type_array);
}

static bool is_plain(struct json_object *value)
{
	return !is_object(value) && !is_list(value);
}

/* Lists of plain values and empty ones go into a line. */
static bool is_short(struct json_object *value)
{
	if (is_plain(value) || (is_object(value) && !json_object_object_length(value)))
		return true;
	if (!is_list(value))
		return false;
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		if (!is_plain(json_object_array_get_idx(value, i)))
			return false;
	}
	return true;
}

/* The text of a short value. Caller frees. */
static char *short_text(struct json_object *value)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return xstrdup("");
	if (!value) {
		fputs("null", out);
	} else if (is_object(value) || (is_list(value) && !json_object_array_length(value))) {
		fputc('-', out);
	} else if (is_list(value)) {
		for (size_t i = 0; i < json_object_array_length(value); i++) {
			char *item = short_text(json_object_array_get_idx(value, i));

			fprintf(out, "%s%s", i ? ", " : "", item);
			free(item);
		}
	} else {
		print_text(json_object_get_string(value), false, out);
	}
	fclose(out);
	return text;
}

/* --- tables -------------------------------------------------------------------------------------
 */

struct table {
	char *names[COLUMNS_MAX];
	int widths[COLUMNS_MAX];
	unsigned int columns;
	size_t rows;
	char **cells; /* rows * COLUMNS_MAX, NULL = empty */
};

/* Puts the members, nested ones with dotted names, into one row. False: it does not fit a table. */
static bool add_cells(struct table *table, size_t row, struct json_object *object,
		      const char *prefix)
{
	json_object_object_foreach(object, key, value)
	{
		char *plain = clean(key);
		char *name = xasprintf("%s%s%s", prefix, *prefix ? "." : "", plain);
		unsigned int column = 0;
		char **cell;

		free(plain);

		if (is_object(value) && json_object_object_length(value)) {
			bool fits = add_cells(table, row, value, name);

			free(name);
			if (!fits)
				return false;
			continue;
		}
		while (column < table->columns && strcmp(table->names[column], name))
			column++;
		if (column == COLUMNS_MAX || !is_short(value)) {
			free(name);
			return false;
		}
		if (column == table->columns) {
			table->widths[column] = (int)strlen(name);
			table->names[column] = name;
			table->columns++;
		} else {
			free(name);
		}
		cell = &table->cells[row * COLUMNS_MAX + column];
		free(*cell);
		*cell = short_text(value);
		table->widths[column] = MAX(table->widths[column], (int)strlen(*cell));
	}
	return true;
}

static void print_row(const struct table *table, char *const *cells, FILE *out)
{
	for (unsigned int i = 0; i < table->columns; i++) {
		const char *text = cells[i] && *cells[i] ? cells[i] : "-";

		if (i + 1 < table->columns)
			fprintf(out, "%-*s  ", table->widths[i], text);
		else
			fprintf(out, "%s\n", text);
	}
}

/* False, with nothing printed: the list is none of objects that fit a table. */
static bool print_table(struct json_object *list, int indent, FILE *out)
{
	struct table table = { .rows = json_object_array_length(list) };
	int width = indent;
	bool fits = true;

	table.cells = xcalloc(table.rows * COLUMNS_MAX + 1, sizeof(*table.cells));
	for (size_t i = 0; i < table.rows && fits; i++) {
		struct json_object *item = json_object_array_get_idx(list, i);

		fits = is_object(item) && add_cells(&table, i, item, "");
	}
	for (unsigned int i = 0; i < table.columns; i++)
		width += table.widths[i] + 2;
	fits = fits && table.columns && width - 2 <= TABLE_WIDTH_MAX;
	if (fits) {
		fprintf(out, "%*s", indent, "");
		print_row(&table, table.names, out);
	}
	for (size_t i = 0; i < table.rows && fits; i++) {
		fprintf(out, "%*s", indent, "");
		print_row(&table, table.cells + i * COLUMNS_MAX, out);
	}
	for (size_t i = 0; i < table.rows * COLUMNS_MAX; i++)
		free(table.cells[i]);
	for (unsigned int i = 0; i < table.columns; i++)
		free(table.names[i]);
	free(table.cells);
	return fits;
}

/* --- everything else ----------------------------------------------------------------------------
 */

static void print_inside(struct json_object *value, int indent, FILE *out);

static void print_member(const char *key, struct json_object *value, int width, FILE *out)
{
	char *text;

	print_text(key, false, out);
	if (!is_short(value)) {
		fputs(":\n", out);
		return;
	}
	text = short_text(value);
	fprintf(out, ":%*s%s\n", width - (int)strlen(key) + 1, "", text);
	free(text);
}

/* The members, the first where the line has begun already. */
static void print_object(struct json_object *object, int indent, bool begun, FILE *out)
{
	int width = 0;

	json_object_object_foreach(object, name, any)
	{
		if (is_short(any))
			width = MAX(width, (int)strlen(name));
	}
	json_object_object_foreach(object, key, value)
	{
		if (!begun)
			fprintf(out, "%*s", indent, "");
		begun = false;
		print_member(key, value, width, out);
		if (!is_short(value))
			print_inside(value, indent + INDENT, out);
	}
}

static void print_list(struct json_object *list, int indent, FILE *out)
{
	if (print_table(list, indent, out))
		return;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *item = json_object_array_get_idx(list, i);

		fprintf(out, "%*s- ", indent, "");
		if (is_object(item) && !is_short(item)) {
			print_object(item, indent + INDENT, true, out);
		} else if (is_short(item)) {
			char *text = short_text(item);

			fprintf(out, "%s\n", text);
			free(text);
		} else {
			fputc('\n', out);
			print_inside(item, indent + INDENT, out);
		}
	}
}

static void print_inside(struct json_object *value, int indent, FILE *out)
{
	if (is_object(value))
		print_object(value, indent, false, out);
	else
		print_list(value, indent, out);
}

void print_value(struct json_object *value, FILE *out)
{
	const char *text;

	if (!is_plain(value)) {
		print_inside(value, 0, out);
		return;
	}
	text = value ? json_object_get_string(value) : "null";
	print_text(text, true, out);
	if (!*text || text[strlen(text) - 1] != '\n')
		fputc('\n', out);
}

/* " guest=true reason=guest-shutdown" */
static void print_data(struct json_object *data, const char *prefix, FILE *out)
{
	json_object_object_foreach(data, key, value)
	{
		char *name = prefix ? xasprintf("%s.%s", prefix, key) : xstrdup(key);
		char *text;

		if (is_object(value)) {
			print_data(value, name, out);
		} else {
			text = is_short(value) ? short_text(value)
					       : xstrdup(json_object_to_json_string(value));
			fputc(' ', out);
			print_text(name, false, out);
			fprintf(out, "=%s", text);
			free(text);
		}
		free(name);
	}
}

void print_event(struct json_object *event, FILE *out)
{
	struct json_object *stamp = NULL, *part = NULL;
	time_t seconds = 0;
	int64_t micros = 0;
	char text[32] = "";
	struct tm tm;

	json_object_object_get_ex(event, "timestamp", &stamp);
	if (stamp && json_object_object_get_ex(stamp, "seconds", &part))
		seconds = (time_t)json_object_get_int64(part);
	if (stamp && json_object_object_get_ex(stamp, "microseconds", &part))
		micros = json_object_get_int64(part);
	if (localtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	fprintf(out, "%s.%06lld ", text, (long long)micros);
	json_object_object_get_ex(event, "event", &part);
	print_text(json_object_get_string(part), false, out);
	if (json_object_object_get_ex(event, "data", &part) && is_object(part))
		print_data(part, NULL, out);
	fputc('\n', out);
}
