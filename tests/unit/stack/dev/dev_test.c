/* dev_test.c - the test wire, faults and captures */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "stack/dev/dev_fault.h"
#include "stack/dev/dev_pcap.h"
#include "stack/dev/dev_wire.h"

static struct wire_frame_out frame(const char *text)
{
	struct wire_frame_out f = { .hdr_len = 14, .len = (uint32_t)strlen(text), .niov = 1 };

	f.iov[0] = (struct wire_tcp_iov){ (const uint8_t *)text, f.len, NULL };
	return f;
}

static void wire_make(struct dev *ends[2], struct dev_wire_config cfg)
{
	cfg.mtu = 1500;
	cfg.depth = cfg.depth ? cfg.depth : 16;
	cr_assert_eq(dev_wire_new(&cfg, ends), 0);
}

Test(dev_wire, delay_rate_order_and_depth)
{
	struct wire_frame_in in[32];
	struct wire_frame_out f[3] = { frame("one"), frame("two"), frame("three") };
	struct dev *e[2];

	wire_make(e,
		  (struct dev_wire_config){ .delay = 1000, .rate_bps = 8000000000ull, .depth = 2 });
	cr_expect_eq(dev_send(e[0], f, 3, 100), 3);
	cr_expect_eq(dev_deadline(e[1]), 100 + 17 + 1000);
	cr_expect_eq(dev_recv(e[1], in, 32, 1116), 0);
	cr_expect_eq(dev_recv(e[1], in, 32, 1117), 1);
	cr_expect_eq(memcmp(in[0].data + 14, "one", 3), 0);
	cr_expect_eq(dev_recv(e[1], in, 32, 2000), 1);
	cr_expect_eq(memcmp(in[0].data + 14, "two", 3), 0);
	cr_expect_eq(dev_recv(e[1], in, 32, 9000), 0, "the third found the queue full");
	cr_expect_eq(dev_recv(e[0], in, 32, 9000), 0);
	dev_close(e[0]);
	dev_close(e[1]);
}

static unsigned int count_through(struct dev_fault_config cfg, unsigned int *damaged)
{
	struct wire_frame_out f = frame("some bytes that may be damaged");
	unsigned int n = 0, got;
	struct wire_frame_in in[64];
	struct dev *e[2];

	wire_make(e, (struct dev_wire_config){ .depth = 64 });
	e[0] = dev_fault_new(e[0], &cfg);
	*damaged = 0;
	for (ztime_t now = 1; now < 2000; now++) {
		if (now <= 1000)
			dev_send(e[0], &f, 1, now);
		else
			dev_recv(e[0], in, 64, now);
		while ((got = dev_recv(e[1], in, 64, now)) != 0)
			for (unsigned int i = 0; i < got; i++, n++)
				*damaged += memcmp(in[i].data + 14, f.iov[0].data, f.len) != 0;
	}
	dev_close(e[0]);
	dev_close(e[1]);
	return n;
}

Test(dev_fault, chances_come_out_and_repeat)
{
	struct dev_fault_config none = { .seed = 3 }, loss = { .seed = 3, .loss = 200000 };
	struct dev_fault_config dup = { .seed = 3, .dup = 200000 };
	struct dev_fault_config bad = { .seed = 3, .corrupt = 200000 };
	struct dev_fault_config late = { .seed = 3, .reorder = 500000, .jitter = 50, .delay = 5 };
	unsigned int damaged, n;

	cr_expect_eq(count_through(none, &damaged), 1000);
	cr_expect_eq(damaged, 0);
	n = count_through(loss, &damaged);
	cr_expect(n > 700 && n < 900, "%u of 1000", n);
	cr_expect_eq(count_through(loss, &damaged), n, "the same seed");
	n = count_through(dup, &damaged);
	cr_expect(n > 1100 && n < 1300, "%u of 1000", n);
	cr_expect_eq(count_through(bad, &damaged), 1000);
	cr_expect(damaged > 50 && damaged < 250, "%u", damaged);
	cr_expect_eq(count_through(late, &damaged), 1000, "late is not lost");
}

Test(dev_pcap, file_holds_both_directions)
{
	struct wire_frame_out f = frame("hello");
	struct wire_frame_in in[4];
	uint32_t words[10];
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	struct dev *e[2];

	wire_make(e, (struct dev_wire_config){ 0 });
	e[0] = dev_pcap_new(e[0], out);
	dev_send(e[0], &f, 1, ztime_sec(3) + 5);
	dev_send(e[1], &f, 1, ztime_sec(4));
	dev_recv(e[0], in, 4, ztime_sec(4));
	dev_close(e[0]);
	dev_close(e[1]);
	fclose(out);
	cr_assert_eq(size, 24 + 2 * (16 + 19));
	memcpy(words, text, sizeof(words));
	cr_expect_eq(words[0], 0xa1b23c4d);
	cr_expect_eq(words[5], 1);
	cr_expect(words[6] == 3 && words[7] == 5 && words[8] == 19 && words[9] == 19);
	cr_expect_eq(memcmp(text + 24 + 16 + 14, "hello", 5), 0);
	free(text);
}
