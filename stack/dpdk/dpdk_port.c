/* dpdk_port.c - ports of DPDK, each with as many queue pairs as its first device asks for */
#include <errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/dpdk/dpdk.h"

#define PORTS_MAX 32
#define RING_LEN  1024

static struct {
	uint16_t queues, open; /* 0: the port is not configured */
	uint64_t taken;        /* queues that have a device */
	bool tx_csum, reconnects;
	struct rte_mempool *pools[64];
} ports[PORTS_MAX];

static int fail(const struct dpdk_args *a, const char *step, int rc, struct dev_error *err)
{
	return dev_fail(err, rc, "dpdk: port %u: %s: %s", a->port, step, rte_strerror(-rc));
}

static uint32_t room_of(const struct dpdk_args *a)
{
	uint32_t room = RTE_MBUF_DEFAULT_BUF_SIZE;

	if (a->mtu && a->mtu + 128u + RTE_PKTMBUF_HEADROOM > room)
		room = a->mtu + 128u + RTE_PKTMBUF_HEADROOM;
	return BASE_MIN(room, 65535u);
}

static int queue_setup(const struct dpdk_args *a, uint16_t queue)
{
	int socket = rte_eth_dev_socket_id((uint16_t)a->port);
	struct rte_mempool *pool;
	char name[32];
	uint16_t rx = RING_LEN, tx = RING_LEN;
	int rc;

	snprintf(name, sizeof(name), "ztcp-%u-%u", a->port, queue);
	pool = rte_pktmbuf_pool_create(name, a->mbufs - 1, 256, 0, (uint16_t)room_of(a), socket);
	if (!pool)
		return -rte_errno;
	ports[a->port].pools[queue] = pool;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc((uint16_t)a->port, &rx, &tx);
	if (!rc)
		rc = rte_eth_rx_queue_setup((uint16_t)a->port, queue, rx, (unsigned int)socket,
					    NULL, pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup((uint16_t)a->port, queue, tx, (unsigned int)socket,
					    NULL);
	return rc;
}

static void conf_fill(const struct dpdk_args *a, const struct rte_eth_dev_info *info,
		      struct rte_eth_conf *conf)
{
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
			    RTE_ETH_RX_OFFLOAD_SCATTER;
	const uint64_t tx = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	const uint64_t rss = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;

	memset(conf, 0, sizeof(*conf));
	conf->rxmode.offloads = info->rx_offload_capa & rx;
	if ((info->tx_offload_capa & tx) == tx)
		conf->txmode.offloads = tx;
	if (a->mtu)
		conf->rxmode.mtu = a->mtu;
	if (a->queues > 1 && info->flow_type_rss_offloads & rss) {
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & rss;
	}
}

/* Not every driver that lacks receive interrupts says so when it is asked for them; some refuse. */
static int configure(const struct dpdk_args *a, struct rte_eth_conf *conf)
{
	uint16_t port = (uint16_t)a->port, queues = (uint16_t)a->queues;
	int rc;

	conf->intr_conf.rxq = 1;
	rc = rte_eth_dev_configure(port, queues, queues, conf);
	if (!rc)
		return 0;
	conf->intr_conf.rxq = 0;
	return rte_eth_dev_configure(port, queues, queues, conf);
}

/* A memif that has asked for its peer once, and will not again by itself. */
static bool is_client(const struct dpdk_args *a)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	if (rte_eth_dev_get_name_by_port((uint16_t)a->port, name) || strncmp(name, "net_memif", 9))
		return false;
	for (int i = 1; i < a->argc; i++) {
		const char *word = strstr(a->argv[i], name);

		if (word && word[strlen(name)] == ',')
			return strstr(word, "role=client") || strstr(word, "role=slave");
	}
	return false;
}

static int port_start(const struct dpdk_args *a, struct dev_error *err)
{
	struct rte_eth_dev_info info;
	struct rte_eth_conf conf;
	uint16_t port = (uint16_t)a->port;
	int rc;

	if (!rte_eth_dev_is_valid_port(port))
		return dev_fail(err, -ENODEV, "dpdk: EAL found no port %u (of %u)", a->port,
				rte_eth_dev_count_avail());
	rc = rte_eth_dev_info_get(port, &info);
	if (rc)
		return fail(a, "ask for it", rc, err);
	if (a->queues > info.max_rx_queues || a->queues > info.max_tx_queues)
		return dev_fail(err, -EINVAL, "dpdk: port %u has %u queue pairs, not %u", a->port,
				BASE_MIN(info.max_rx_queues, info.max_tx_queues), a->queues);
	conf_fill(a, &info, &conf);
	rc = configure(a, &conf);
	for (uint16_t q = 0; !rc && q < a->queues; q++)
		rc = queue_setup(a, q);
	if (rc)
		return fail(a, "set up its queues", rc, err);
	rc = rte_eth_dev_start(port);
	if (rc)
		return fail(a, "start it", rc, err);
	ports[port].queues = (uint16_t)a->queues;
	ports[port].tx_csum = conf.txmode.offloads != 0;
	ports[port].reconnects = is_client(a);
	return 0;
}

static void port_stop(uint16_t port)
{
	rte_eth_dev_stop(port);
	for (uint16_t q = 0; q < ports[port].queues; q++)
		rte_mempool_free(ports[port].pools[q]);
	memset(&ports[port], 0, sizeof(ports[port]));
}

int dpdk_queue_open(const struct dpdk_args *a, struct dpdk_queue *q, struct dev_error *err)
{
	struct rte_ether_addr mac;
	uint16_t port = (uint16_t)a->port, mtu;
	int rc = ports[port].queues ? 0 : port_start(a, err);

	if (rc)
		return rc;
	if (a->queues != ports[port].queues)
		return dev_fail(err, -EINVAL, "dpdk: port %u was opened with %u queue pairs",
				a->port, ports[port].queues);
	if (ports[port].taken & 1ull << a->queue)
		return dev_fail(err, -EBUSY, "dpdk: port %u: queue %u has a device", a->port,
				a->queue);
	rc = rte_eth_macaddr_get(port, &mac);
	if (!rc)
		rc = rte_eth_dev_get_mtu(port, &mtu);
	if (rc)
		return fail(a, "ask for address and MTU", rc, err);
	ports[port].taken |= 1ull << a->queue;
	*q = (struct dpdk_queue){
		.port = port,
		.queue = (uint16_t)a->queue,
		.mtu = (uint16_t)BASE_MIN(mtu, room_of(a) - RTE_PKTMBUF_HEADROOM - 18u),
		.tx_csum = ports[port].tx_csum,
		.reconnects = ports[port].reconnects,
		.pool = ports[port].pools[a->queue],
	};
	memcpy(q->mac.b, mac.addr_bytes, WIRE_MAC_LEN);
	return 0;
}

bool dpdk_queue_alone(const struct dpdk_queue *q)
{
	return ports[q->port].taken == 1ull << q->queue;
}

void dpdk_queue_close(const struct dpdk_queue *q)
{
	ports[q->port].taken &= ~(1ull << q->queue);
	if (!ports[q->port].taken)
		port_stop(q->port);
}
