/* policy_value_test.c - numbers, addresses, prefixes, ports */
#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "daemon/policy/policy_value.h"
#include "tests/unit/daemon/policy/policy_fix.h"

Test(policy_value, policy_number_read__edges)
{
	uint64_t n = 7;

	cr_assert(policy_number_read("0", 0, &n) && n == 0);
	cr_assert(policy_number_read("18446744073709551615", UINT64_MAX, &n) && n == UINT64_MAX);
	cr_assert(!policy_number_read("18446744073709551616", UINT64_MAX, &n));
	cr_assert(!policy_number_read("1", 0, &n));
	cr_assert(!policy_number_read("", 9, &n));
	cr_assert(!policy_number_read("+1", 9, &n));
	cr_assert(!policy_number_read(" 1", 9, &n));
	cr_assert(!policy_number_read("1x", 99, &n));
	cr_assert_eq(n, UINT64_MAX, "set only on success");
}

/* inet_pton() is the judge, but for leading zeros, which it too refuses. */
Test(policy_value, policy_ip_read__as_inet_pton)
{
	static const char *const texts[] = {
		"0.0.0.0",
		"255.255.255.255",
		"1.2.3.4",
		"1.2.3",
		"1.2.3.4.",
		".1.2.3.4",
		"256.1.1.1",
		"01.2.3.4",
		"1.2.3.4x",
		"",
		"::",
		"::1",
		"1::",
		"1::2",
		"1:2:3:4:5:6:7:8",
		"1:2:3:4:5:6:7:8:9",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7::",
		"::2:3:4:5:6:7:8",
		"1::3:4:5:6:7:8",
		"1:2:3:4::5:6:7:8",
		":",
		":::",
		"1:::2",
		"::1::",
		"1:",
		":1",
		"1:2:3:4:5:6:7:",
		"12345::",
		"g::",
		"fFfF::aB",
		"::1.2.3.4",
		"::ffff:1.2.3.4",
		"1:2:3:4:5:6:1.2.3.4",
		"1:2:3:4:5:6:7:1.2.3.4",
		"1:2:3:4:5:1.2.3.4",
		"::1.2.3.4:5",
		"::1.2.3",
		"1::1.2.3.4",
		"1.2.3.4::",
		"::.",
		"1:2:3:4:5:6:7.8.9.10::",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		uint8_t want[16] = { 0 }, got[16] = { 0 };
		unsigned family = inet_pton(AF_INET, texts[i], want) == 1    ? 4
				  : inet_pton(AF_INET6, texts[i], want) == 1 ? 6
									     : 0;

		cr_assert_eq(policy_ip_read(texts[i], strlen(texts[i]), got), family, "%s",
			     texts[i]);
		if (family)
			cr_assert_arr_eq(got, want, 16, "%s", texts[i]);
	}
}

/* Random bytes of the alphabet of addresses. */
Test(policy_value, policy_ip_read__as_inet_pton_on_random_texts)
{
	static const char alphabet[] = "::::....0012fF";
	unsigned seed = 1;

	for (int round = 0; round < 300000; round++) {
		uint8_t want[16] = { 0 }, got[16] = { 0 };
		char text[20];
		size_t len = 0;
		unsigned family;

		for (; len < sizeof(text) - 1; len++) {
			seed = seed * 1103515245 + 12345;
			if ((seed >> 16) % 16 == 15)
				break;
			text[len] = alphabet[(seed >> 16) % 16 % (sizeof(alphabet) - 1)];
		}
		text[len] = '\0';
		family = inet_pton(AF_INET, text, want) == 1    ? 4
			 : inet_pton(AF_INET6, text, want) == 1 ? 6
								: 0;
		cr_assert_eq(policy_ip_read(text, len, got), family, "%s", text);
		if (family)
			cr_assert_arr_eq(got, want, 16, "%s", text);
	}
}

Test(policy_value, policy_addr_parse__forms)
{
	struct policy_addr a;
	static const char *const bad[] = { "",
					   ":",
					   "[",
					   "[]",
					   "[]:1",
					   "[::1]",
					   "[::1]:",
					   "[::1]:65536",
					   "1.2.3.4:",
					   "1.2.3.4:x",
					   "1.2.3.4:123456789",
					   "x:1",
					   "::1:1:1:1:1:1:1:1:1" };

	a = fix_addr("10.0.0.1");
	cr_assert(a.family == 4 && a.port == 0 && a.ip[0] == 10);
	a = fix_addr("10.0.0.1:80");
	cr_assert(a.family == 4 && a.port == 80);
	a = fix_addr("::1");
	cr_assert(a.family == 6 && a.port == 0 && a.ip[15] == 1);
	a = fix_addr("[::1]:65535");
	cr_assert(a.family == 6 && a.port == 65535);
	a = fix_addr("::ffff:127.0.0.1");
	cr_assert(a.family == 4 && a.ip[0] == 127 && a.ip[3] == 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(policy_addr_parse(&a, bad[i], strlen(bad[i])), -EINVAL, "%s", bad[i]);
}

Test(policy_value, policy_addr_set__families)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(80),
				  .sin_addr.s_addr = htonl(0x7f000001) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(81) };
	struct sockaddr un = { .sa_family = AF_UNIX };
	struct policy_addr a;

	policy_addr_set(&a, &in);
	cr_assert(a.family == 4 && a.port == 80 && a.ip[0] == 127 && a.ip[3] == 1);
	inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr);
	policy_addr_set(&a, &in6);
	cr_assert(a.family == 4 && a.port == 81 && a.ip[0] == 1 && a.ip[3] == 4);
	inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
	policy_addr_set(&a, &in6);
	cr_assert(a.family == 6 && a.ip[0] == 0xfe && a.ip[15] == 1);
	policy_addr_set(&a, &un);
	cr_assert_eq(a.family, 0);
}
