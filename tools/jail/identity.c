// SPDX-License-Identifier: Apache-2.0
/* User, group and capabilities of the VMM, by libcap-ng; and no way to more. */
#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "jail.h"

/* "CAP_NET_ADMIN" or "net_admin". */
static int capability(const char *name)
{
	return capng_name_to_capability(strncasecmp(name, "cap_", 4) ? name : name + 4);
}

int identity_drop(const struct jail *jail, struct error **errp)
{
	capng_clear(CAPNG_SELECT_ALL);
	for (unsigned int i = 0; i < jail->capability_count; i++) {
		int cap = capability(jail->capabilities[i]);

		if (cap < 0)
			return error_set(errp, -EINVAL, "-capability %s: no such capability", jail->capabilities[i]);
		if (capng_update(CAPNG_ADD,
				 CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE | CAPNG_BOUNDING_SET | CAPNG_AMBIENT,
				 (unsigned int)cap))
			return error_set(errp, -EINVAL, "-capability %s", jail->capabilities[i]);
	}
	if (!jail->own_userns && setgroups(0, NULL))
		return error_set_errno(errp, -errno, "dropping groups");
	/* Keeps what was chosen over the change of the user, which would clear it. */
	if (jail->own_userns ? capng_apply(CAPNG_SELECT_ALL) :
			       capng_change_id((int)jail->uid, (int)jail->gid, CAPNG_CLEAR_BOUNDING))
		return error_set(errp, -EPERM, "user %u, group %u and capabilities cannot be set", jail->uid, jail->gid);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return error_set_errno(errp, -errno, "no_new_privs");
	if (jail->capability_count && capng_apply(CAPNG_SELECT_AMBIENT))
		return error_set(errp, -EPERM, "-capability: capabilities cannot be kept over exec");
	jail_say(jail, "user %u, group %u, %u capabilities", jail->uid, jail->gid, jail->capability_count);
	return 0;
}
