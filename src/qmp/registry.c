// SPDX-License-Identifier: Apache-2.0
/* Every command there is, by subject. What is not named here does not exist. */
#include "internal.h"

const struct qmp_command *const qmp_command_tables[] = {
	qmp_schema_commands,   qmp_info_commands,  qmp_cpu_commands,	qmp_life_commands,
	qmp_back_end_commands, qmp_block_commands, qmp_device_commands, qmp_object_commands,
	qmp_memory_commands,   qmp_fd_commands,	   qmp_qom_commands,	qmp_hmp_commands,
	qmp_net_commands,      qmp_probe_commands, NULL,
};
