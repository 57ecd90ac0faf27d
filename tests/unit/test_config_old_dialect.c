// SPDX-License-Identifier: Apache-2.0
/* The rules of the translation one by one: docs/config.md, "The old dialect". */
#include "config_text.h"

#define DISK "-device", "virtio-blk-device,id=d,drive=d"

START_TEST(disks)
{
	/* A drive that no device names is a disk, as with QEMU. */
	config_same(("-drive", "id=d,file=f"), ("-drive", "id=d,file=f", DISK));
	config_same(("-drive", "id=d,file=f,serial=s,iothread=i"),
		    ("-drive", "id=d,file=f", "-device",
		     "virtio-blk-device,id=d,drive=d,serial=s,iothread=i"));
	/* It says that it is none, or something else has it. */
	config_same(("-drive", "id=d,file=f,if=none", DISK),
		    ("-drive", "id=d,file=f,if=none", DISK));
	{
		char *text = config_text("-drive", "id=d,file=f,if=none", "-drive",
					 "id=e,file=f,if=pflash", "-drive", "id=g,file=f",
					 "-machine", "pflash0=g", "-drive", "file=noid");

		ck_assert_ptr_null(strstr(text, "virtio-blk"));
		free(text);
	}
	config_same(("-drive", "id=d,file=f", "-device", "usb-storage,id=u,drive=d"),
		    ("-device", "usb-storage,id=u,drive=d", "-drive", "id=d,file=f"));
	config_refused("-drive id=d: 'serial' belongs to the -device that uses it", "-drive",
		       "id=d,file=f,serial=s", DISK);
	config_refused("-drive id=d: 'iothread' belongs to the -device that uses it", "-drive",
		       "id=d,file=f,if=none,iothread=i");
}
END_TEST

/* What QEMU's users write. */
START_TEST(disks_and_random_numbers_as_qemu_has_them)
{
	config_same(("-drive", "file=f,if=virtio"), ("-drive", "id=virtio0,file=f", "-device", "virtio-blk-device,id=virtio0,drive=virtio0"));
	config_same(("-machine", "q35", "-drive", "file=f,if=virtio,id=d,serial=s"),
		    ("-machine", "q35", "-drive", "id=d,file=f", "-device", "virtio-blk-pci,id=d,drive=d,serial=s"));
	config_same(("-drive", "file=f,if=virtio", "-drive", "file=g,if=virtio", "-drive", "file=h,if=none,id=virtio0"),
		    ("-drive", "file=f,id=virtio1", "-drive", "file=g,id=virtio2", "-drive", "file=h,if=none,id=virtio0",
		     "-device", "virtio-blk-device,id=virtio1,drive=virtio1", "-device", "virtio-blk-device,id=virtio2,drive=virtio2"));
	config_refused("-drive id=d: if=virtio makes a disk of it, and a -device names it: if=none is right", "-drive",
		       "id=d,file=f,if=virtio", DISK);
	/* Without a source of random bytes the host's kernel is one. */
	config_same(("-device", "virtio-rng-pci"), ("-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0"));
	config_same(("-device", "virtio-rng-pci", "-object", "rng-random,id=rng0", "-device", "virtio-rng-device"),
		    ("-object", "rng-random,id=rng0", "-object", "rng-builtin,id=rng1", "-object", "rng-builtin,id=rng2",
		     "-device", "virtio-rng-pci,rng=rng1", "-device", "virtio-rng-device,rng=rng2"));
	config_same(("-device", "virtio-rng-pci,rng=r"), ("-device", "virtio-rng-pci,rng=r"));
	{
		char *text = config_text("-global", "virtio-rng-pci.rng=r", "-device", "virtio-rng-pci");

		ck_assert_ptr_null(strstr(text, "rng-builtin"));
		free(text);
	}
}
END_TEST

/* What the old words mean goes to the bus that the machine has; what is named by its class does not. */
START_TEST(machines_with_pci)
{
	config_same(("-machine", "q35", "-drive", "id=d,file=f"),
		    ("-drive", "id=d,file=f", "-machine", "q35", "-device",
		     "virtio-blk-pci,id=d,drive=d"));
	config_same(("-balloon", "-machine", "pc-q35-7.2"),
		    ("-machine", "pc-q35-7.2", "-device", "virtio-balloon-pci,id=balloon0"));
	config_same(("-machine", "q35", "-device", "vsock,id=v,guest-cid=3"),
		    ("-machine", "q35", "-device", "vhost-vsock-pci,id=v,guest-cid=3"));
	config_same(("-machine", "q35", "-device", "virtio-blk-device,id=d,drive=d"),
		    ("-machine", "q35", DISK));
	config_same(("-machine", "q35", "-device", "pvpanic,id=p,bus=pcie.0,addr=0x7,supported-features=0"),
		    ("-machine", "q35", "-device", "pvpanic-pci,id=p,bus=pcie.0,addr=0x7,events=0"));
	config_same(("-machine", "q35", "-device", "pvpanic,supported-features=1"),
		    ("-machine", "q35", "-device", "pvpanic,events=1"));
	config_same(("-device", "pvpanic,addr=7"), ("-device", "pvpanic,addr=7"));
	config_refused("-device pvpanic,id=p: 'supported-features' is StratoVirt's word for 'events': give one", "-device",
		       "pvpanic,id=p,events=1,supported-features=1");
}
END_TEST

START_TEST(throttling)
{
	config_same(("-drive", "id=d,file=f,iops=0"),
		    ("-drive", "id=d,file=f,throttling.iops-total=0"));
	config_same(("-drive", "id=d,file=f,iops=1000000"),
		    ("-drive", "id=d,file=f,throttling.iops-total=1000000"));
	config_refused("-drive id=d: iops=1000001 is out of range [0, 1000000]", "-drive",
		       "id=d,file=f,iops=1000001");
	config_same(("-drive", "id=d,file=f,iops_rd=1,iops_wr_max=2,bps=3,bps_max=4,iops_size=5"),
		    ("-drive", "id=d,file=f,throttling.iops-read=1,throttling.iops-write-max=2,"
			       "throttling.bps-total=3,throttling.bps-total-max=4,throttling.iops-size=5"));
	config_refused("-drive id=d: 'bps_wr' is the old word for 'throttling.bps-write': give one",
		       "-drive", "id=d,file=f,bps_wr=1,throttling.bps-write=1");
	config_refused("-drive id=d: iops=x is not a number", "-drive", "id=d,file=f,iops=x");
	config_refused("-drive id=d: 'iops' is the old word for 'throttling.iops-total': give one",
		       "-drive", "id=d,file=f,iops=1,throttling.iops-total=1");
}
END_TEST

START_TEST(words_for_yes_and_no)
{
	static const char *const yes[] = { "true", "on", "yes" }, *const no[] = { "false", "off",
										  "no" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		char drive[64];

		snprintf(drive, sizeof(drive), "id=d,file=f,readonly=%s,direct=%s", yes[i], no[i]);
		config_same(("-drive", drive), ("-drive", "id=d,file=f,readonly=on,direct=off"));
	}
}
END_TEST

#define NIC "-device", "virtio-net-device,id=n,netdev=n"

START_TEST(nics)
{
	config_same(("-netdev", "id=n,netdev=tap0"), ("-netdev", "tap,id=n,ifname=tap0", NIC));
	/* The first release wrote the kind first. */
	config_same(("-netdev", "tap,id=n,netdev=tap0"), ("-netdev", "tap,id=n,ifname=tap0", NIC));
	config_same(("-netdev", "id=n,netdev=tap0,fds=4"), ("-netdev", "tap,id=n,fd=4", NIC));
	config_same(("-netdev", "id=n,netdev=tap0,fds=4:5,vhost=true,vhostfds=6:7"),
		    ("-netdev", "tap,id=n,fds=4:5,vhost=on,vhostfds=6:7", NIC));
	config_same(("-netdev", "id=n,netdev=tap0", "-device", "x,netdev=n"),
		    ("-netdev", "tap,id=n,ifname=tap0", "-device", "x,netdev=n"));
	config_refused("-netdev netdev=tap0: 'id' is required", "-netdev", "netdev=tap0");
	config_refused("-netdev vhost-user,id=n: 'netdev' names a tap, this is a vhost-user",
		       "-netdev", "vhost-user,id=n,netdev=tap0");
	config_refused("-netdev id=n: 'netdev' is the old word for 'ifname': give one", "-netdev",
		       "id=n,netdev=tap0,ifname=tap0");
	config_refused("-netdev tap,id=n: 'mac' belongs to the -device that uses it", "-netdev",
		       "id=n,netdev=t,mac=1", NIC);
}
END_TEST

START_TEST(consoles)
{
	config_same(("-chardev", "id=c,path=p"),
		    ("-chardev", "socket,id=c,path=p,server=on,wait=off", "-device",
		     "virtio-serial-device,id=virtio-serial0,max_ports=1", "-device",
		     "virtconsole,id=c,chardev=c"));
	/* One bus for all of them, and the one that is there. */
	config_same(("-chardev", "id=c,path=p", "-chardev", "id=e,path=q"),
		    ("-chardev", "socket,id=c,path=p,server,nowait", "-chardev",
		     "socket,id=e,path=q,server,nowait", "-device",
		     "virtio-serial-device,id=virtio-serial0", "-device",
		     "virtconsole,id=c,chardev=c", "-device", "virtconsole,id=e,chardev=e"));
	config_same(("-chardev", "id=c,path=p", "-device", "virtio-serial-device,id=mine,max_ports=7"),
		    ("-chardev", "socket,id=c,path=p,server,nowait", "-device",
		     "virtio-serial-device,id=mine,max_ports=7", "-device",
		     "virtconsole,id=c,chardev=c"));
	config_same(("-chardev", "id=c,path=p", "-device", "x,chardev=c"),
		    ("-chardev", "socket,id=c,path=p,server,nowait", "-device", "x,chardev=c"));
	{
		/* Something is forgotten here, but not because it is old. */
		char *text = config_text("-chardev", "id=c,path=p,server");

		ck_assert_ptr_null(strstr(text, "virtconsole"));
		ck_assert_ptr_null(strstr(text, "backend"));
		free(text);
	}
}
END_TEST

START_TEST(options_that_are_gone)
{
	config_same(("-device", "vsock,id=v,guest-cid=3"),
		    ("-device", "vhost-vsock-device,id=v,guest-cid=3"));
	config_same(("-iothread", "id=i"), ("-object", "iothread,id=i"));
	config_refused("-iothread id=: id= has 0 bytes, at least 1 are needed", "-iothread", "id=");
	config_same(("-balloon"), ("-device", "virtio-balloon-device,id=balloon0"));
	config_same(("-balloon", "deflate-on-oom=no"),
		    ("-device", "virtio-balloon-device,id=balloon0,deflate-on-oom=off"));
	config_refused("-balloon deflate=1: unknown property 'deflate'", "-balloon", "deflate=1");
	config_same(("-rng", "random_file=/r"), ("-object", "rng-random,id=rng0,filename=/r",
						 "-device", "virtio-rng-device,id=rng0,rng=rng0"));
	config_same(("-rng", "random_file=/r,bytes_per_sec=64"),
		    ("-object", "rng-random,id=rng0,filename=/r", "-device",
		     "virtio-rng-device,id=rng0,rng=rng0,max-bytes=64,period=1000"));
	config_refused("-rng bytes_per_sec=64: 'random_file' is required", "-rng",
		       "bytes_per_sec=64");
	config_refused("-rng random_file=/r: bytes_per_sec=63 is out of range [64, 1000000000]",
		       "-rng", "random_file=/r,bytes_per_sec=63");
	config_refused("-rng random_file=/r: bytes_per_sec=1000000001 is out of range [64, "
		       "1000000000]",
		       "-rng", "random_file=/r,bytes_per_sec=1000000001");
	config_same(("-api-channel", "unix:/a"), ("-qmp", "unix:/a,server=on,wait=off,strict=off"));
	config_same(("-api-channel", "unix:/a,server,nowait"), ("-api-channel", "unix:/a"));
	config_same(("-machine", "type=MicroVm"), ("-machine", "microvm"));
	config_same(("-m", "268435456"), ("-m", "256M"));
}
END_TEST

/* Later errors name the option that was written. */
START_TEST(origin)
{
	char *argv[] = { (char *)(uintptr_t) "stratovirt", (char *)(uintptr_t) "-drive",
			 (char *)(uintptr_t) "id=d,file=f", NULL };
	enum cmdline_action action = CMDLINE_RUN;
	struct vm_config config;
	char *topic = NULL, *name;

	vm_config_init(&config);
	ck_assert_int_eq(cmdline_parse(3, argv, &config, &action, &topic, NULL), 0);
	name = opts_describe(list_entry(list_first(&config.devices), struct opts, node));
	ck_assert_str_eq(name, "-drive as -device virtio-blk-device,id=d");
	free(name);
	vm_config_release(&config);
}
END_TEST

START_TEST(once_in_a_vm)
{
	config_refused("-device virtio-balloon-device,id=b: a VM can have one such device",
		       "-balloon", "-device", "virtio-balloon-device,id=b");
	config_refused("-device vhost-vsock-device,id=w: a VM can have one such device", "-device",
		       "vsock,id=v,guest-cid=3", "-device", "vsock,id=w,guest-cid=4");
	config_refused("-device virtio-serial-pci,id=s: a VM can have one such device", "-device",
		       "virtio-serial-device", "-device", "virtio-serial-pci,id=s");
	config_refused("-balloon is given twice", "-balloon", "-balloon");
}
END_TEST

UNIT_SUITE(suite, "config old dialect", disks, disks_and_random_numbers_as_qemu_has_them, machines_with_pci, throttling, words_for_yes_and_no,
	   nics, consoles, options_that_are_gone, origin, once_in_a_vm)
UNIT_MAIN(suite)
