// SPDX-License-Identifier: Apache-2.0
/*
 * The short forms of -serial, turned into what -chardev would be: "stdio" → backend=stdio,
 * "file:PATH" → backend=file,path=PATH, "unix:PATH,server" → backend=socket,path=PATH,server,
 * "tcp:HOST:PORT" → backend=socket,host=HOST,port=PORT. "chardev:ID" names a back end made
 * elsewhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmdline_private.h"
#include "opts_private.h"
#include "util/alloc.h"

/* @text is what follows "tcp:". */
static int parse_tcp(const char *origin, const char *text, struct opts **ret, struct error **errp)
{
	size_t len = strcspn(text, ",");
	char *address = xstrndup(text, len), *host = address, *rest;
	char *colon = strrchr(address, ':');
	struct opts *opts;
	int err;

	/* An escaped comma would become part of the port, which has none. */
	if (!colon || !colon[1] || strchr(colon, ']') || !strncmp(text + len, ",,", 2)) {
		err = error_set(errp, -EINVAL, "%s tcp:%s: HOST:PORT is missing", origin, text);
		goto out;
	}
	*colon = '\0';
	if (*host == '[' && colon[-1] == ']') { /* IPv6 */
		host++;
		colon[-1] = '\0';
	}
	rest = xasprintf("socket%s", text + len);
	err = opts_parse(origin, rest, "backend", &opts, errp);
	free(rest);
	if (err)
		goto out;
	if (*host)
		opts_append(opts, xstrdup("host"), xstrdup(host));
	opts_append(opts, xstrdup("port"), xstrdup(colon + 1));
	err = opts_check_keys(opts, errp);
	if (err)
		opts_free(opts);
	else
		*ret = opts;
out:
	free(address);
	return err;
}

int serial_text_parse(const char *origin, const char *text, struct opts **ret,
		      struct error **errp)
{
	static const struct {
		const char *word, *form;
	} forms[] = {
		{ "file:", "file,path=%s" },
		{ "unix:", "socket,path=%s" },
		{ "chardev:", "chardev,chardev=%s" },
	};
	size_t len = strcspn(text, ":,=");
	struct opts *opts;
	char *full;
	int err;

	if (strcmp(text, "mon:stdio") == 0) /* QEMU's; there is no human monitor to share it with */
		text = "stdio";
	else if (strncmp(text, "tcp:", 4) == 0)
		return parse_tcp(origin, text + 4, ret, errp);
	else if (text[len] == ':') {
		for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
			const char *word = forms[i].word;

			if (strncmp(text, word, strlen(word)))
				continue;
			/* As QEMU has it, a key may stand where the path does: an inherited descriptor. */
			if (!strncmp(text, "unix:fd=", 8))
				full = xasprintf("socket,%s", text + strlen(word));
			else
				full = xasprintf(forms[i].form, text + strlen(word));
			err = opts_parse(origin, full, "backend", ret, errp);
			free(full);
			return err;
		}
		return error_set(errp, -EINVAL,
				 "%s %s: '%.*s' is not one of file, unix, tcp, chardev", origin,
				 text, (int)len, text);
	}
	err = opts_parse(origin, text, "backend", &opts, errp);
	if (err)
		return err;
	if (!opts_get(opts, "backend")) {
		opts_free(opts);
		return error_set(errp, -EINVAL, "%s %s: 'backend' is required", origin, text);
	}
	*ret = opts;
	return 0;
}
