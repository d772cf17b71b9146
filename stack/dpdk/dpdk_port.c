/* dpdk_port.c - ports of DPDK, each with as many queue pairs as its first device asks for */
#include <dlfcn.h>
#include <errno.h>
#include <linux/virtio_net.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/base_check.h"
#include "stack/dpdk/dpdk.h"

#define PORTS_MAX  32
#define QUEUES_MAX 64
#define RING_LEN   1024
#define LONG_RING  256   /* where buffers are long */
#define LONG_ROOM  7680u /* with what DPDK has before it 8 KiB */
#define LONG_PARTS 9     /* of the longest packet */
#define LONG_TX    64    /* packets that are sent in copies and not yet given back */
#define LONG_CACHE 64
#define LONG_MBUFS 1024
#define MBUFS      4096
#define TX_MBUFS   4096 /* of a queue: a packet is at least one, a referenced run is one more */

static struct {
	uint16_t queues, open; /* 0: the port is not configured */
	uint64_t taken;        /* queues that have a device */
	bool tx_csum, tso, asks_peer, segs, chains, reconnects, gated;
	bool long_rx;         /* packets longer than the MTU arrive */
	_Atomic bool stopped; /* changed while the gate is held */
	_Atomic bool long_tx; /* of a port that asks its peer: it takes them */
	int node;
	struct dpdk_pool *rx[QUEUES_MAX];
	struct rte_mempool *tx[QUEUES_MAX];
	struct rte_mempool *copies[QUEUES_MAX]; /* NULL: as received packets */
	struct inst_rss_config *rss;            /* of each queue */
} ports[PORTS_MAX];

static struct vhost_calls {
	int (*vid)(uint16_t port);
	int (*features)(int vid, uint64_t *features);
} vhost_calls;

static int fail(const struct dpdk_args *a, const char *step, int rc, struct dev_error *err)
{
	return dev_fail(err, rc, "dpdk: port %u: %s: %s", a->port, step, rte_strerror(-rc));
}

/* Bytes of a packet that one buffer holds. */
static uint32_t room_of(const struct dpdk_args *a)
{
	uint32_t room = ports[a->port].long_rx ? LONG_ROOM : RTE_MBUF_DEFAULT_DATAROOM;

	return a->mtu && a->mtu + 128u > room ? a->mtu + 128u : room;
}

static bool copies_long(uint16_t port)
{
	return ports[port].tso && !ports[port].chains;
}

/*
 * A virtio_user gives back what it has sent when it needs the place in its ring, not before: so there are buffers for a ring of the
 * longest packets, for one more, and for what threads that take turns have in their caches. None is received in, or nothing could come that makes it send.
 */
static int copies_make(const struct dpdk_args *a, uint16_t queue, int socket)
{
	char name[32];

	if (!copies_long((uint16_t)a->port))
		return 0;
	snprintf(name, sizeof(name), "ztcp-cp-%u-%u", a->port, queue);
	ports[a->port].copies[queue] = rte_pktmbuf_pool_create(
		name, (LONG_TX + 1) * LONG_PARTS + 4 * LONG_CACHE, LONG_CACHE, 0,
		(uint16_t)(RTE_PKTMBUF_HEADROOM + LONG_ROOM), socket);
	return ports[a->port].copies[queue] ? 0 : -rte_errno;
}

static int pools_make(const struct dpdk_args *a, uint16_t queue, int socket)
{
	uint32_t mbufs = a->mbufs ? a->mbufs : ports[a->port].long_rx ? LONG_MBUFS : MBUFS;
	char name[32];

	snprintf(name, sizeof(name), "ztcp-rx-%u-%u", a->port, queue);
	ports[a->port].rx[queue] = dpdk_pool_new(name, mbufs, room_of(a), socket);
	if (!ports[a->port].rx[queue])
		return -rte_errno;
	snprintf(name, sizeof(name), "ztcp-tx-%u-%u", a->port, queue);
	ports[a->port].tx[queue] = dpdk_tx_pool(name, TX_MBUFS - 1, socket);
	return ports[a->port].tx[queue] ? copies_make(a, queue, socket) : -rte_errno;
}

static int queue_setup(const struct dpdk_args *a, uint16_t queue)
{
	int socket = rte_eth_dev_socket_id((uint16_t)a->port);
	uint16_t rx = ports[a->port].long_rx ? LONG_RING : RING_LEN;
	uint16_t tx = copies_long((uint16_t)a->port) ? LONG_TX : RING_LEN;
	int rc = pools_make(a, queue, socket);

	if (!rc)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc((uint16_t)a->port, &rx, &tx);
	if (!rc)
		rc = rte_eth_rx_queue_setup((uint16_t)a->port, queue, rx, (unsigned int)socket,
					    NULL, ports[a->port].rx[queue]->mp);
	if (!rc)
		rc = rte_eth_tx_queue_setup((uint16_t)a->port, queue, tx, (unsigned int)socket,
					    NULL);
	return rc;
}

static bool is_driver(const struct rte_eth_dev_info *info, const char *name)
{
	return info->driver_name && !strcmp(info->driver_name, name);
}

static bool is_virtual(const struct rte_eth_dev_info *info)
{
	return info->device && !strcmp(rte_bus_name(rte_dev_bus(info->device)), "vdev");
}

static void conf_fill(const struct dpdk_args *a, const struct rte_eth_dev_info *info,
		      struct rte_eth_conf *conf)
{
	const uint64_t rx = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
			    RTE_ETH_RX_OFFLOAD_SCATTER;
	const uint64_t lro = RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
			     RTE_ETH_RX_OFFLOAD_TCP_LRO;
	const uint64_t tx = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
			    RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	const uint64_t rss = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;

	memset(conf, 0, sizeof(*conf));
	conf->rxmode.offloads = info->rx_offload_capa & rx;
	conf->txmode.offloads = info->tx_offload_capa & tx;
	if (is_virtual(info) && (info->rx_offload_capa & lro) == lro)
		conf->rxmode.offloads |= lro;
	if (a->mtu)
		conf->rxmode.mtu = a->mtu;
	if (a->queues > 1 && info->flow_type_rss_offloads & rss) {
		conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf->rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & rss;
	}
}

/* Ports in memory read what is sent by its address; a card would have to have our memory mapped, a vhost to see it. */
static bool takes_any_memory(const struct rte_eth_dev_info *info)
{
	return is_virtual(info) && !is_driver(info, "net_virtio_user") &&
	       !is_driver(info, "net_af_xdp");
}

static void offloads_note(uint16_t port, const struct rte_eth_dev_info *info,
			  const struct rte_eth_conf *conf)
{
	const uint64_t tx = conf->txmode.offloads;

	ports[port].tx_csum = tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
	if (conf->rxmode.offloads & RTE_ETH_RX_OFFLOAD_TCP_LRO)
		ports[port].long_rx = true;
	ports[port].segs = tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	ports[port].chains = ports[port].segs && takes_any_memory(info);
	ports[port].tso = ports[port].tx_csum && ports[port].segs && is_virtual(info) &&
			  (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO || ports[port].asks_peer);
	ports[port].gated = is_driver(info, "net_memif");
	ports[port].node = rte_eth_dev_socket_id(port);
}

/* All queues get the same share of the hashes, where the driver lets us say so; then what it has is read back. Return: 0 or -errno. */
static int table_read(uint16_t port, uint16_t len, uint16_t queues, uint16_t *to)
{
	struct rte_eth_rss_reta_entry64 reta[INST_RSS_RETA_MAX / RTE_ETH_RETA_GROUP_SIZE];
	int rc;

	if (len < RTE_ETH_RETA_GROUP_SIZE || len > INST_RSS_RETA_MAX || len & (len - 1))
		return -ENOTSUP;
	memset(reta, 0xff, sizeof(reta)); /* all entries */
	for (uint16_t i = 0; i < len; i++)
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % queues;
	rte_eth_dev_rss_reta_update(port, reta, len);
	rc = rte_eth_dev_rss_reta_query(port, reta, len);
	for (uint16_t i = 0; !rc && i < len; i++)
		to[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
	return rc;
}

/* Which connections' packets come to which queue, as the port itself says. Return: 0 or -errno. */
static int rss_read(uint16_t port, const struct rte_eth_dev_info *info, uint16_t queues)
{
	const uint64_t tcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
	uint8_t key[128] = { 0 };
	struct rte_eth_rss_conf conf = { .rss_key = key, .rss_key_len = sizeof(key) };
	struct inst_rss_config *rss;
	int rc;

	/* 0: the driver does not say, and has the usual 40 */
	if ((info->hash_key_size && info->hash_key_size < INST_RSS_KEY_LEN) ||
	    info->hash_key_size > sizeof(key))
		return -ENOTSUP;
	rss = calloc(queues, sizeof(*rss));
	if (!rss)
		return -ENOMEM;
	rc = rte_eth_dev_rss_hash_conf_get(port, &conf);
	if (!rc && !(conf.rss_hf & tcp))
		rc = -ENOTSUP;
	if (!rc)
		rc = table_read(port, info->reta_size, queues, rss->reta);
	if (rc) {
		free(rss);
		return rc;
	}
	memcpy(rss->key, key, sizeof(rss->key));
	rss->reta_len = info->reta_size;
	for (uint16_t q = 1; q < queues; q++) {
		rss[q] = rss[0];
		rss[q].queue = q;
	}
	ports[port].rss = rss;
	return 0;
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

/* Whether the port is one of @driver's whose arguments have @what. */
static bool is_port_with(const struct dpdk_args *a, const char *driver, const char *what)
{
	char name[RTE_ETH_NAME_MAX_LEN];

	if (rte_eth_dev_get_name_by_port((uint16_t)a->port, name) ||
	    strncmp(name, driver, strlen(driver)))
		return false;
	for (int i = 1; i < a->argc; i++) {
		const char *word = strstr(a->argv[i], name);

		if (word && word[strlen(name)] == ',')
			return strstr(word, what);
	}
	return false;
}

/* It has asked for its peer once, and will not again by itself. */
static bool is_client(const struct dpdk_args *a)
{
	return is_port_with(a, "net_memif", "role=client") ||
	       is_port_with(a, "net_memif", "role=slave");
}

/* Its peer reads what is sent where it lies, and sees DPDK's memory only. A server's driver copies all the same. */
static bool is_read_in_place(const struct dpdk_args *a)
{
	return is_client(a) && is_port_with(a, "net_memif", "zero-copy=yes");
}

/*
 * Answers must come back to the queue that asked. A port that hashes says how; ports in memory keep to the queue, or learn it from what
 * is sent.
 */
static int queues_known(const struct dpdk_args *a, const struct rte_eth_dev_info *info,
			struct dev_error *err)
{
	int rc = a->queues > 1 ? rss_read((uint16_t)a->port, info, (uint16_t)a->queues) : 0;

	if (!rc || (is_virtual(info) && !is_driver(info, "net_af_xdp")))
		return 0;
	return dev_fail(err, rc,
			"dpdk: port %u: it does not say which queue it chooses; use queues=1",
			a->port);
}

/* A vhost's peer says when it connects whether it takes long packets; its driver does not tell, its library does. The driver's thread. */
static int vhost_changed(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	const uint64_t tso = 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6;
	int vid = vhost_calls.vid(port);
	uint64_t features = 0;

	(void)type;
	(void)arg;
	(void)ret;
	if (vid < 0 || vhost_calls.features(vid, &features))
		features = 0;
	atomic_store_explicit(&ports[port].long_tx, (features & tso) == tso, memory_order_relaxed);
	return 0;
}

static void vhost_ask(const struct dpdk_args *a, const struct rte_eth_dev_info *info)
{
	Dl_info where;
	void *so;

	ports[a->port].long_rx = is_port_with(a, "net_vhost", "tso=1");
	if (!dladdr(info->driver_name, &where) ||
	    !(so = dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD)))
		return;
	*(void **)&vhost_calls.vid = dlsym(so, "rte_eth_vhost_get_vid_from_port_id");
	*(void **)&vhost_calls.features = dlsym(so, "rte_vhost_get_negotiated_features");
	dlclose(so); /* the driver stays */
	if (vhost_calls.vid && vhost_calls.features)
		ports[a->port].asks_peer = !rte_eth_dev_callback_register((uint16_t)a->port,
									  RTE_ETH_EVENT_INTR_LSC,
									  vhost_changed, NULL);
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
	if (is_driver(&info, "net_vhost"))
		vhost_ask(a, &info);
	rc = configure(a, &conf);
	offloads_note(port, &info, &conf);
	if (is_read_in_place(a))
		ports[port].chains = ports[port].tso = false;
	for (uint16_t q = 0; !rc && q < a->queues; q++)
		rc = queue_setup(a, q);
	if (rc)
		return fail(a, "set up its queues", rc, err);
	if (ports[port].gated)
		rc = dpdk_gate_start();
	if (rc)
		return fail(a, "park the driver's thread", rc, err);
	rc = rte_eth_dev_start(port);
	if (rc)
		return fail(a, "start it", rc, err);
	if (ports[port].asks_peer)
		vhost_changed(port, RTE_ETH_EVENT_INTR_LSC, NULL,
			      NULL); /* a peer that was faster */
	ports[port].queues = (uint16_t)a->queues;
	ports[port].reconnects = is_client(a);
	return queues_known(a, &info, err);
}

static void port_stop(uint16_t port)
{
	bool held = ports[port].gated && dpdk_gate_hold(true);

	rte_eth_dev_stop(port);
	if (held)
		dpdk_gate_release();
	if (ports[port].asks_peer)
		rte_eth_dev_callback_unregister(port, RTE_ETH_EVENT_INTR_LSC, vhost_changed, NULL);
	for (uint16_t q = 0; q < QUEUES_MAX; q++) {
		dpdk_pool_free(ports[port].rx[q]);
		rte_mempool_free(ports[port].tx[q]);
		rte_mempool_free(ports[port].copies[q]);
	}
	free(ports[port].rss);
	memset(&ports[port], 0, sizeof(ports[port]));
}

/* Return: 0 and the queue that @a asks for, or -errno and @err. */
static int queue_choose(const struct dpdk_args *a, uint16_t *queue, struct dev_error *err)
{
	const uint64_t taken = ports[a->port].taken;
	uint16_t first = a->queue == DPDK_QUEUE_ANY ? 0 : (uint16_t)a->queue;
	uint16_t last = a->queue == DPDK_QUEUE_ANY ? (uint16_t)(a->queues - 1) : first;

	if (a->queues != ports[a->port].queues)
		return dev_fail(err, -EINVAL, "dpdk: port %u was opened with %u queue pairs",
				a->port, ports[a->port].queues);
	for (uint16_t q = first; q <= last; q++)
		if (!(taken & 1ull << q)) {
			*queue = q;
			return 0;
		}
	if (a->queue == DPDK_QUEUE_ANY)
		return dev_fail(err, -EBUSY, "dpdk: port %u: all queues have a device", a->port);
	return dev_fail(err, -EBUSY, "dpdk: port %u: queue %u has a device", a->port, a->queue);
}

static int queue_fill(const struct dpdk_args *a, uint16_t queue, struct dpdk_queue *q,
		      struct dev_error *err)
{
	struct rte_ether_addr mac;
	uint16_t port = (uint16_t)a->port, mtu;
	int rc = rte_eth_macaddr_get(port, &mac);

	if (!rc)
		rc = rte_eth_dev_get_mtu(port, &mtu);
	if (rc)
		return fail(a, "ask for address and MTU", rc, err);
	*q = (struct dpdk_queue){
		.port = port,
		.queue = queue,
		.mtu = (uint16_t)BASE_MIN(mtu, room_of(a) - 18u),
		.tx_csum = ports[port].tx_csum,
		.tso = ports[port].tso,
		.asks_peer = ports[port].asks_peer,
		.segs = ports[port].segs,
		.chains = ports[port].chains,
		.reconnects = ports[port].reconnects,
		.gated = ports[port].gated,
		.node = ports[port].node,
		.rx = ports[port].rx[queue],
		.tx = ports[port].tx[queue],
		.copies = ports[port].copies[queue] ? ports[port].copies[queue]
						    : ports[port].rx[queue]->mp,
		.rss = ports[port].rss ? &ports[port].rss[queue] : NULL,
	};
	memcpy(q->mac.b, mac.addr_bytes, WIRE_MAC_LEN);
	return 0;
}

int dpdk_queue_open(const struct dpdk_args *a, struct dpdk_queue *q, struct dev_error *err)
{
	uint16_t port = (uint16_t)a->port, queue = 0;
	int rc = ports[port].queues ? 0 : port_start(a, err);

	if (!rc)
		rc = queue_choose(a, &queue, err);
	if (!rc)
		rc = queue_fill(a, queue, q, err);
	if (!rc)
		ports[port].taken |= 1ull << queue;
	else if (!ports[port].taken && ports[port].rx[0])
		port_stop(port);
	return rc;
}

bool dpdk_queue_linked(const struct dpdk_queue *q)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(q->port, &link) == 0 && link.link_status;
}

bool dpdk_queue_takes_long(const struct dpdk_queue *q)
{
	return !q->asks_peer || atomic_load_explicit(&ports[q->port].long_tx, memory_order_relaxed);
}

bool dpdk_queue_stopped(const struct dpdk_queue *q)
{
	return atomic_load_explicit(&ports[q->port].stopped, memory_order_relaxed);
}

void dpdk_queue_restart(const struct dpdk_queue *q)
{
	if (!dpdk_gate_hold(false))
		return;
	if (dpdk_queue_stopped(q) ||
	    !dpdk_queue_linked(q)) { /* no other queue's thread has done it */
		rte_eth_dev_stop(q->port);
		atomic_store_explicit(&ports[q->port].stopped, rte_eth_dev_start(q->port) != 0,
				      memory_order_relaxed);
	}
	dpdk_gate_release();
}

void dpdk_queue_close(const struct dpdk_queue *q)
{
	ports[q->port].taken &= ~(1ull << q->queue);
	if (!ports[q->port].taken)
		port_stop(q->port);
}
