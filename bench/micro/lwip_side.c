/* lwip_side.c - a server on lwIP's raw API: see lwip_side.h
 *
 * Frames go in by reference, as a driver without copies gives them (pbuf_alloced_custom()), and what lwIP wants sent is
 * kept by reference until it is taken. Nothing of lwIP's own threads runs.
 */
#include "bench/micro/lwip_side.h"

#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>
#include <string.h>

#define FRAMES 64

struct frame {
	struct pbuf_custom custom;
	struct frame *next;
};

static struct netif card;
static struct pbuf *out[FRAMES];
static unsigned int out_put, out_got;
static struct frame frames[FRAMES], *free_frames;
static char answer[64];
static uint32_t request_bytes;
static uint64_t answers;

static void frame_free(struct pbuf *p)
{
	struct frame *f = (struct frame *)(void *)p;

	f->next = free_frames;
	free_frames = f;
}

static err_t card_send(struct netif *n, struct pbuf *p)
{
	(void)n;
	if (out_put - out_got == FRAMES)
		return ERR_BUF;
	pbuf_ref(p);
	out[out_put++ % FRAMES] = p;
	return ERR_OK;
}

static err_t card_init(struct netif *n)
{
	n->name[0] = 'z';
	n->name[1] = 't';
	n->mtu = 1500;
	n->hwaddr_len = ETH_HWADDR_LEN;
	n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET |
		   NETIF_FLAG_LINK_UP;
	n->output = etharp_output;
	n->linkoutput = card_send;
	return ERR_OK;
}

/* Bytes of the request that is coming in are counted in the connection's argument. */
static err_t received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	uintptr_t have = (uintptr_t)arg;

	(void)err;
	if (!p)
		return tcp_close(pcb);
	have += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	while (have >= request_bytes) {
		have -= request_bytes;
		if (tcp_write(pcb, answer, sizeof(answer), 0) == ERR_OK)
			answers++;
	}
	tcp_arg(pcb, (void *)have);
	return ERR_OK;
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
	(void)arg;
	(void)err;
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, received);
	return ERR_OK;
}

static int listen_at(uint16_t port)
{
	struct tcp_pcb *pcb = tcp_new();

	if (!pcb || tcp_bind(pcb, IP4_ADDR_ANY, port) != ERR_OK)
		return -1;
	pcb = tcp_listen_with_backlog(pcb, 255);
	if (!pcb)
		return -1;
	tcp_accept(pcb, accepted);
	return 0;
}

static int side_init(const uint8_t mac[6], uint32_t addr, uint16_t port, uint16_t ports,
		     uint32_t request)
{
	ip4_addr_t ip = { lwip_htonl(addr) }, mask = { lwip_htonl(0xffffff00u) }, none = { 0 };

	request_bytes = request;
	for (unsigned int i = 0; i < FRAMES; i++)
		frame_free(&frames[i].custom.pbuf);
	lwip_init();
	if (!netif_add(&card, &ip, &mask, &none, NULL, card_init, ethernet_input))
		return -1;
	memcpy(card.hwaddr, mac, ETH_HWADDR_LEN);
	netif_set_up(&card);
	for (uint16_t i = 0; i < ports; i++)
		if (listen_at((uint16_t)(port + i)))
			return -1;
	return 0;
}

static uint64_t side_turn(uint8_t *bytes, uint32_t len)
{
	struct frame *f = free_frames;
	struct pbuf *p;

	if (!f)
		return answers;
	free_frames = f->next;
	f->custom.custom_free_function = frame_free;
	p = pbuf_alloced_custom(PBUF_RAW, (uint16_t)len, PBUF_REF, &f->custom, bytes,
				(uint16_t)len);
	if (card.input(p, &card) != ERR_OK)
		pbuf_free(p);
	return answers;
}

static uint32_t side_take(uint8_t *frame, uint32_t room)
{
	struct pbuf *p;
	uint32_t len;

	if (out_got == out_put)
		return 0;
	p = out[out_got++ % FRAMES];
	len = pbuf_copy_partial(p, frame, (uint16_t)room, 0);
	pbuf_free(p);
	return len;
}

__attribute__((visibility("default"))) const struct lwip_side *lwip_side(void)
{
	static const struct lwip_side ops = {
		.init = side_init,
		.turn = side_turn,
		.take = side_take,
		.timers = sys_check_timeouts,
	};

	return &ops;
}
