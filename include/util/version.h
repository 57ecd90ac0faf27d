/* SPDX-License-Identifier: Apache-2.0 */
/* Who we are: "-V", the log's first line, QMP's greeting. */
#ifndef UTIL_VERSION_H
#define UTIL_VERSION_H

const char *version_number(void); /* "0.1.0" */
const char *version_text(void);   /* "StratoVirt 0.1.0 commit-id 1a2b3c4" */

#endif
