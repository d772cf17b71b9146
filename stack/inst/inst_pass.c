/* inst_pass.c - what another instance of the interface may know goes to the next one
 *
 * Nothing is shared for it: who has a connection is found out by asking one after the other, and only of segments that nobody would
 * have a use for. A card that keeps a connection's packets together makes none but those of connections that are over.
 */
#include "stack/inst/inst_state.h"

void inst_pass_set(struct inst *in, const struct inst_pass *pass)
{
	in->pass = *pass;
}

bool inst_pass_may(const struct inst *in)
{
	if (in->touring)
		return in->touring->origin != in->pass.me && in->touring->hops < INST_PASS_HOPS;
	return in->pass.put && in->pass.others(in->pass.ctx);
}

static enum counter pass(const struct inst *in, struct inst_passed *p)
{
	p->origin = in->touring ? in->touring->origin : in->pass.me;
	p->hops = in->touring ? (uint8_t)(in->touring->hops + 1) : 1;
	return in->pass.put(in->pass.ctx, p) ? CNT_inst_passed : CNT_inst_pass_full;
}

/* A copy: what has arrived is lent, or short, or a part of something larger. */
enum counter inst_pass_segment(struct inst *in, const struct ip_rx *rx)
{
	struct inst_passed p = {
		.kind = INST_PASSED_SEGMENT,
		.ecn = rx->ecn,
		.l4_len = rx->l4_len,
		.flow = rx->flow,
	};
	enum counter why;
	uint8_t *data;

	p.owner = in->cfg.buf.alloc(in->cfg.buf.ctx, rx->l4_len, &data);
	if (!p.owner)
		return CNT_inst_no_buffer;
	memcpy(data, rx->l4, rx->l4_len);
	p.l4 = data;
	why = pass(in, &p);
	if (why != CNT_inst_passed)
		in->cfg.buf.put(in->cfg.buf.ctx, p.owner);
	return why;
}

enum counter inst_pass_error(struct inst *in, const struct ip_error *e)
{
	struct inst_passed p = { .kind = INST_PASSED_ERROR, .error = *e };

	return pass(in, &p);
}

enum counter inst_pass_heard(struct inst *in, const struct ip_heard *heard)
{
	struct inst_passed p = { .kind = INST_PASSED_HEARD, .heard = *heard };

	return pass(in, &p);
}
