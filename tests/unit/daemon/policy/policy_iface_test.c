/* policy_iface_test.c - files of interfaces: what is taken, what is refused and where, which one leads where */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/policy/policy_iface.h"

static struct policy_ifaces all;
static struct policy_error err;

static int parse(const char *text)
{
	return policy_ifaces_parse(&all, "file", text, strlen(text), &err);
}

static int to(const char *text, bool *linked)
{
	struct policy_addr a;

	cr_assert_eq(policy_addr_parse(&a, text, strlen(text)), 0, "%s", text);
	return policy_iface_to(&all, &a, linked);
}

static int of(const char *text)
{
	struct policy_addr a;

	cr_assert_eq(policy_addr_parse(&a, text, strlen(text)), 0, "%s", text);
	return policy_iface_of(&all, &a);
}

Test(policy_iface, policy_ifaces_parse__all_keys)
{
	const struct policy_iface *i = &all.iface[0];

	cr_assert_eq(parse("# a comment\n\n"
			   "interface zt0 device=tap:zt0,x=1 address=10.9.0.2/24,fd09::2/64 "
			   "gateway=10.9.0.1,fd09::1 route=10.0.0.0/8,fd00::/8 mtu=9000 # end\r\n"),
		     0);
	cr_assert_eq(all.count, 1);
	cr_assert_str_eq(i->name, "zt0");
	cr_assert_str_eq(i->device, "tap:zt0,x=1");
	cr_assert(i->addrs == 2 && i->routes == 2 && i->mtu == 9000 && i->line == 3);
	cr_assert(i->addr[0].family == 4 && i->addr[0].bits == 24 && i->addr[0].ip[3] == 2,
		  "the host's bits stay");
	cr_assert(i->addr[1].family == 6 && i->addr[1].bits == 64 && i->addr[1].ip[15] == 2);
	cr_assert(i->gateway[0].family == 4 && i->gateway[1].family == 6);
}

Test(policy_iface, policy_ifaces_parse__quotes_keep_blanks)
{
	cr_assert_eq(parse("interface d device=\"dpdk:port=0 --no-huge -m 64\" address=10.0.0.2/8"),
		     0);
	cr_assert_str_eq(all.iface[0].device, "dpdk:port=0 --no-huge -m 64");
	cr_assert_eq(parse("interface d device=\"dpdk:port=0 address=10.0.0.2/8"), -EINVAL);
	cr_assert(err.col == 20 && !strcmp(err.expected, "a closing quote"));
	cr_assert_eq(parse("interface d device=\"\" address=10.0.0.2/8"), -EINVAL);
}

Test(policy_iface, policy_ifaces_parse__a_shared_interface_has_the_kernels_addresses)
{
	cr_assert_eq(parse("interface a device=xdp:eth0,queue=1\ninterface b device=tap:zt0 "
			   "address=10.0.0.2/8"),
		     0);
	cr_assert(all.iface[0].shared && !all.iface[0].addrs && !all.iface[1].shared);
	cr_expect_eq(to("10.0.0.1", NULL), 1, "the kernel says where a shared one leads");
	cr_expect_eq(to("11.0.0.1", NULL), -1);
}

Test(policy_iface, policy_ifaces_parse__nothing_is_no_interface)
{
	cr_assert_eq(parse(""), 0);
	cr_assert_eq(parse(" \t\n#\n"), 0);
	cr_assert_eq(all.count, 0);
	cr_assert_eq(to("10.0.0.1", NULL), -1);
}

Test(policy_iface, policy_ifaces_parse__errors_name_their_place)
{
	static const struct {
		const char *text, *expected;
		unsigned line, col;
	} bad[] = {
		{ "lift", "interface", 1, 1 },
		{ "interface", "interface", 1, 1 },
		{ "\ninterface a/b device=x address=10.0.0.2/8", "a name of at most", 2, 11 },
		{ "interface a speed=1", "device=, address=", 1, 13 },
		{ "interface a device= address=10.0.0.2/8", "a value", 1, 20 },
		{ "interface a address=10.0.0.2/8", "device=", 1, 31 },
		{ "interface a device=xdp:v0 address=10.0.0.2/8", "nothing else", 1, 45 },
		{ "interface a device=xdp:v0 mtu=1500", "nothing else", 1, 35 },
		{ "interface a device=x", "address=", 1, 21 },
		{ "interface a device=x device=y", "each key once", 1, 22 },
		{ "interface a device=x address=10.0.0.2", "a host's address", 1, 30 },
		{ "interface a device=x address=127.0.0.1/8", "a host's address", 1, 30 },
		{ "interface a device=x address=224.0.0.1/8", "a host's address", 1, 30 },
		{ "interface a device=x address=::1/128", "a host's address", 1, 30 },
		{ "interface a device=x address=10.0.0.2/33", "a host's address", 1, 30 },
		{ "interface a device=x address=10.0.0.2/8,10.0.0.2/8", "an address that was", 1,
		  41 },
		{ "interface a device=x address=10.0.0.2/8 gateway=11.0.0.1", "gateways inside", 1,
		  57 },
		{ "interface a device=x address=10.0.0.2/8 gateway=10.0.0.1/8", "the address of a",
		  1, 49 },
		{ "interface a device=x address=10.0.0.2/8 route=11.0.0.0/8", "a gateway of the", 1,
		  57 },
		{ "interface a device=x address=10.0.0.2/8 mtu=100", "bytes from 576", 1, 45 },
		{ "interface a device=x address=fd00::2/64 mtu=1000", "an mtu of at least", 1, 49 },
		{ "interface a device=x address=10.0.0.2/8\ninterface a device=y address=10.0.0.3/8",
		  "a name that was", 2, 11 },
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(parse(bad[i].text), -EINVAL, "%s", bad[i].text);
		cr_assert(strncmp(err.expected, bad[i].expected, strlen(bad[i].expected)) == 0,
			  "%s: %s", bad[i].text, err.expected);
		cr_assert(err.line == bad[i].line && err.col == bad[i].col, "%s: %u:%u",
			  bad[i].text, err.line, err.col);
	}
}

Test(policy_iface, policy_ifaces_parse__limits)
{
	char text[4096] = "";

	for (unsigned i = 0; i < POLICY_IFACES_MAX; i++)
		sprintf(text + strlen(text), "interface i%u device=d address=10.%u.0.1/16\n", i, i);
	cr_assert_eq(parse(text), 0);
	cr_assert_eq(all.count, POLICY_IFACES_MAX);
	strcat(text, "interface more device=d address=11.0.0.1/16\n");
	cr_assert_eq(parse(text), -EINVAL);
	cr_assert_eq(err.line, POLICY_IFACES_MAX + 1);
}

Test(policy_iface, policy_iface_to__longest_prefix_wins)
{
	bool linked;

	cr_assert_eq(parse("interface a device=d address=10.1.0.2/16 gateway=10.1.0.1\n"
			   "interface b device=e address=10.2.0.2/16,fd02::2/64 gateway=10.2.0.1 "
			   "route=192.168.0.0/16\n"),
		     0);
	cr_assert(to("10.1.7.7", &linked) == 0 && linked);
	cr_assert(to("10.2.7.7:80", &linked) == 1 && linked);
	cr_assert(to("192.168.3.4", &linked) == 1 && !linked);
	cr_assert(to("8.8.8.8", &linked) == 0 && !linked, "a gateway without a route");
	cr_assert(to("[fd02::77]:1", &linked) == 1 && linked);
	cr_assert_eq(to("fd03::1", &linked), -1, "no gateway for IPv6");
	cr_assert_eq(to("10.2.0.2", &linked), -1, "one of ours");
	cr_assert(of("10.2.0.2:80") == 1 && of("::ffff:10.1.0.2") == 0 && of("10.1.0.1") == -1);
}
