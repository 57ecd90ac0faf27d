// SPDX-License-Identifier: Apache-2.0
/* The only file that the build compiles with the version, so that a new commit rebuilds just this one. */
#include "util/version.h"

const char *version_number(void)
{
	return STRATOVIRT_VERSION;
}

const char *version_text(void)
{
	return "StratoVirt " STRATOVIRT_VERSION " commit-id " STRATOVIRT_COMMIT;
}
