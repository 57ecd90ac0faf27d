// SPDX-License-Identifier: Apache-2.0
/* The three front ends make the same VM of the same wishes, byte for byte, and -config takes back
 * what -dump-config prints. */
#include "config_text.h"

static char directory[32];

static const char old_file[] =
	"{\n"
	"  \"boot-source\": {\n"
	"    \"kernel_image_path\": \"/k\",\n"
	"    \"boot_args\": \"console=ttyS0 root=/dev/vda\",\n"
	"    \"initrd_fs_path\": \"/i\"\n"
	"  },\n"
	"  \"machine-config\": {\n"
	"    \"type\": \"MicroVm\", \"name\": \"vm\", \"vcpu_count\": 4, \"mem_size\": 805306368,\n"
	"    \"mem_path\": \"/dev/hugepages\", \"mem_share\": true, \"dump_guest_core\": false\n"
	"  },\n"
	"  \"drive\": [\n"
	"    { \"drive_id\": \"rootfs\", \"path_on_host\": \"/r\", \"read_only\": false, "
	"\"direct\": false },\n"
	"    { \"drive_id\": \"data\", \"path_on_host\": \"/d\", \"read_only\": true, \"direct\": "
	"true,\n"
	"      \"serial_num\": \"11111111\", \"iothread\": \"io0\", \"iops\": 1000 }\n"
	"  ],\n"
	"  \"net\": [\n"
	"    { \"iface_id\": \"net0\", \"host_dev_name\": \"tap0\", \"mac\": "
	"\"12:34:56:78:9A:BC\",\n"
	"      \"iothread\": \"io1\" },\n"
	"    { \"iface_id\": \"net1\", \"host_dev_name\": \"tap1\", \"tap_fd\": 5,\n"
	"      \"vhost_type\": \"vhost-kernel\", \"vhost_fd\": 6 }\n"
	"  ],\n"
	"  \"console\": [ { \"console_id\": \"con0\", \"socket_path\": \"/c\" } ],\n"
	"  \"vsock\": { \"vsock_id\": \"vsock0\", \"guest_cid\": 3, \"vhost_fd\": 7 },\n"
	"  \"serial\": { \"stdio\": true },\n"
	"  \"iothread\": [ { \"id\": \"io0\" }, { \"id\": \"io1\" } ],\n"
	"  \"balloon\": { \"deflate_on_oom\": true },\n"
	"  \"rng\": { \"random_file\": \"/dev/urandom\", \"bytes_per_sec\": 1000000 }\n"
	"}\n";

#define OLD_COMMAND_LINE                                                                           \
	"-machine", "type=MicroVm,dump-guest-core=off,mem-share=on", "-name", "vm", "-smp",        \
		"cpus=4", "-m", "805306368", "-mem-path", "/dev/hugepages", "-kernel", "/k",       \
		"-append", "console=ttyS0", "root=/dev/vda", "-initrd", "/i", "-drive",            \
		"file=/r,id=rootfs,readonly=false,direct=false", "-drive",                         \
		"id=data,file=/d,readonly=yes,direct=true,serial=11111111,iothread=io0,iops=1000", \
		"-netdev", "id=net0,netdev=tap0,mac=12:34:56:78:9A:BC,iothread=io1", "-netdev",    \
		"id=net1,netdev=tap1,fds=5,vhost=on,vhostfds=6", "-chardev", "id=con0,path=/c",    \
		"-device", "vsock,id=vsock0,guest-cid=3,vhostfd=7", "-serial", "stdio",            \
		"-iothread", "id=io0", "-iothread", "id=io1", "-balloon", "deflate-on-oom=true",   \
		"-rng", "random_file=/dev/urandom,bytes_per_sec=1000000"

#define COMMAND_LINE                                                                               \
	"-machine", "microvm,mem-share=on,dump-guest-core=off", "-name", "vm", "-smp", "4", "-m",  \
		"768", "-mem-path", "/dev/hugepages", "-kernel", "/k", "-append",                  \
		"console=ttyS0 root=/dev/vda", "-initrd", "/i", "-object", "iothread,id=io0",      \
		"-object", "iothread,id=io1", "-object",                                           \
		"rng-random,id=rng0,filename=/dev/urandom", "-chardev",                            \
		"socket,id=con0,path=/c,server,nowait", "-serial", "stdio", "-drive",              \
		"id=rootfs,file=/r,readonly=off,direct=off", "-drive",                             \
		"id=data,file=/d,readonly=on,direct=on,throttling.iops-total=1000", "-netdev",     \
		"tap,id=net0,ifname=tap0", "-netdev", "tap,id=net1,fd=5,vhost=on,vhostfd=6",       \
		"-device", "vhost-vsock-device,id=vsock0,guest-cid=3,vhostfd=7", "-device",        \
		"virtio-balloon-device,id=balloon0,deflate-on-oom=on", "-device",                  \
		"virtio-rng-device,id=rng0,rng=rng0,max-bytes=1000000,period=1000", "-device",     \
		"virtio-blk-device,drive=rootfs,id=rootfs", "-device",                             \
		"virtio-blk-device,drive=data,id=data,serial=11111111,iothread=io0", "-device",    \
		"virtio-net-device,netdev=net0,id=net0,mac=12:34:56:78:9A:BC,iothread=io1",        \
		"-device", "virtio-net-device,netdev=net1,id=net1", "-device",                     \
		"virtio-serial-device,id=virtio-serial0,max_ports=1", "-device",                   \
		"virtconsole,chardev=con0,id=con0"

START_TEST(three_front_ends_one_vm)
{
	config_enter_directory(directory);
	config_file("vm.json", old_file);
	config_same((COMMAND_LINE), (OLD_COMMAND_LINE));
	config_same((COMMAND_LINE), ("-config", "vm.json"));
	unlink("vm.json");
	config_leave_directory(directory);
}
END_TEST

/* Dumps these words, reads that, and dumps again. */
#define round_trip(...)                                                                            \
	do {                                                                                       \
		char *_once = config_text(__VA_ARGS__), *_twice;                                   \
                                                                                                   \
		config_file("dump.json", _once);                                                   \
		_twice = config_text("-config", "dump.json");                                      \
		ck_assert_str_eq(_once, _twice);                                                   \
		free(_once);                                                                       \
		free(_twice);                                                                      \
		unlink("dump.json");                                                               \
	} while (0)

START_TEST(what_is_dumped_is_taken_back)
{
	config_enter_directory(directory);
	round_trip();
	round_trip("-kernel", "k");
	round_trip(COMMAND_LINE);
	round_trip(OLD_COMMAND_LINE);
	/* every field that the others leave out, and values that need care in JSON */
	round_trip("-machine", "q35,acpi=off,accel=kvm:tcg", "-cpu", "max", "-smp",
		   "2,maxcpus=8,sockets=2,cores=2,threads=2", "-m", "134217728", "-mem-prealloc",
		   "-kernel", "a \"quoted\"\\path\n", "-append", "", "-name", "\xc3\xa4,,\t",
		   "-uuid", "00112233-4455-6677-8899-aAbBcCdDeEfF", "-S", "-no-reboot",
		   "-no-shutdown", "-daemonize", "-pidfile", "/run/p", "-D", "/var/log/l",
		   "-object", "memory-backend-ram,id=m0,size=64M,host-nodes=0-1,host-nodes=3,policy=bind",
		   "-object", "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m1\", \"host-nodes\": [0, 2]}",
		   "-numa", "node,nodeid=0,cpus=0,cpus=2-3,memdev=m0", "-numa", "cpu,node-id=0,socket-id=1",
		   "-numa", "dist,src=0,dst=1,val=31",
		   "-disable-seccomp", "-drive", "id=d,file=a,,b=c,if=none", "-device",
		   "{\"driver\": \"x\", \"a\": {\"b\": 1}, \"yes\": true, \"n\": -5}", "-qmp",
		   "unix:/q,server,nowait", "-qmp", "tcp:localhost:4444,server", "-api-channel",
		   "unix:/a", "-chardev", "socket,id=m,path=/m,server,nowait", "-mon",
		   "chardev=m,mode=control", "-serial", "none", "-serial", "file:/s");
	round_trip("-machine", "virt", "-D");
	config_leave_directory(directory);
}
END_TEST

/* Order and spelling of what means the same do not show. */
START_TEST(canonical)
{
	config_same(("-drive", "id=d,file=f,if=none", "-device", "x,id=y,drive=d"),
		    ("-drive", "if=none,file=f,id=d", "-device", "drive=d,id=y,driver=x"));
	config_same(("-chardev", "socket,id=c,path=p,server,nowait"),
		    ("-chardev", "path=p,wait=off,server=on,id=c,backend=socket"));
	config_same(("-smp", "4"), ("-smp", "cpus=4,maxcpus=4,sockets=1,cores=4,threads=1"));
	config_same(("-numa", "node,cpus=0-1,cpus=3,mem=1G"), ("-numa", "node,mem=1G,cpus=0-1:3"));
	config_same(("-object", "memory-backend-ram,id=m,host-nodes=0,policy=bind,host-nodes=2-3"),
		    ("-object", "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m\", \"policy\": \"bind\", "
				"\"host-nodes\": \"0:2-3\"}"));
	config_same(("-object", "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m\", \"host-nodes\": [0, 2]}"),
		    ("-object", "memory-backend-ram,id=m,host-nodes=0:2"));
	config_same(("-global", "pcie-root-port.fast-unplug=1", "-global", "pcie-root-port.fast-unplug=0"),
		    ("-global", "pcie-root-port.fast-unplug=on", "-global",
		     "driver=pcie-root-port,property=fast-unplug,value=off"));
	config_same(("-m", "1G"), ("-m", "1024"));
	config_same(("-cpu", "max"), ("-cpu", "host"));
}
END_TEST

START_TEST(not_utf8)
{
	config_refused("-dump-config: kernel is not UTF-8, which JSON has to be", "-kernel",
		       "\xff");
	config_refused("-dump-config: -drive is not UTF-8, which JSON has to be", "-drive",
		       "id=a,file=\xc3,if=none");
}
END_TEST

START_TEST(asked_for_on_the_command_line)
{
	char *argv[] = { (char *)(uintptr_t) "stratovirt", (char *)(uintptr_t) "-dump-config",
			 (char *)(uintptr_t) "-kernel", (char *)(uintptr_t) "k", NULL };
	enum cmdline_action action = CMDLINE_RUN;
	struct vm_config config;
	char *topic = NULL;

	/* Unlike the other questions it wants all that follows to be looked at. */
	vm_config_init(&config);
	ck_assert_int_eq(cmdline_parse(4, argv, &config, &action, &topic, NULL), 0);
	ck_assert_int_eq(action, CMDLINE_DUMP_CONFIG);
	ck_assert_str_eq(config.kernel, "k");
	ck_assert_str_eq(opts_get(config.machine, "type"), "microvm");
	vm_config_release(&config);
}
END_TEST

UNIT_SUITE(suite, "config front ends", three_front_ends_one_vm, what_is_dumped_is_taken_back,
	   canonical, not_utf8, asked_for_on_the_command_line)
UNIT_MAIN(suite)
