/* tcp_fast.c - header prediction as ordinary functions: see tcp_fast.h */
#include "stack/tcp/tcp_fast.h"

bool tcp_fast_input(struct tcb *t, const uint8_t *l4, uint32_t bytes, const uint8_t *data,
		    void *owner, ztime_t now)
{
	uint32_t hdr = tcp_fast_shape(t, l4, bytes);
	unsigned int told = t->events;

	if (!hdr ||
	    !tcp_fast_in(t, t->env, l4, hdr, data, bytes - hdr, owner, &told, tcp_now_ms(now), now))
		return false;
	t->events = (uint16_t)told;
	return true;
}

uint32_t tcp_fast_output(struct tcb *t, uint8_t *l4, struct wire_tcp_iov *iov, ztime_t now)
{
	bool ts = tcp_is(t, TCP_F_TS);

	if (!tcp_fast_out(t, t->env, l4, ts, iov, tcp_now_ms(now), now))
		return 0;
	return ts ? TCP_FAST_HDR_TS : WIRE_TCP_HDR_LEN;
}
