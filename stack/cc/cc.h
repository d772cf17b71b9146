/* cc.h - congestion control as one small table of operations
 *
 * What it does: decides how many bytes a sender may have in the network. The TCP core tells it, by name,
 * what happened (an acknowledgement, a loss, an ECN echo, a timeout, an idle time) and reads two
 * numbers: cwnd and ssthresh. Who calls: stack/tcp only. Owner of the memory: struct cc lies inside the
 * connection; operations are const tables. Thread: the connection's. Pure: `now` is an argument.
 *
 * During recovery the core (Proportional Rate Reduction, RFC 6937) moves cwnd between the old value and
 * ssthresh; an algorithm only says what ssthresh is, and grows cwnd outside of recovery. When a signal turns
 * out false the core puts back the copy of struct cc it took before: all state is in that struct.
 */
#ifndef ZTCP_CC_H
#define ZTCP_CC_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/base/base_time.h"

enum cc_signal {
	CC_SIGNAL_LOSS, /* a segment was declared lost by duplicate ACK, SACK or RACK */
	CC_SIGNAL_ECN,  /* the peer echoed a congestion mark (RFC 3168) */
	CC_SIGNAL_RTO,  /* the retransmission timer ran out (RFC 6298) */
};

struct cc_ops;

struct cc_cubic {
	uint32_t w_max;    /* bytes: window before the last reduction (RFC 9438 W_max) */
	uint32_t origin;   /* bytes: window at which the cubic is flat in this epoch */
	uint32_t w_est;    /* bytes: what Reno would have (RFC 9438 4.3) */
	uint32_t k_ms;     /* time from the start of the epoch to the origin (RFC 9438 K) */
	uint32_t fraction; /* bytes acknowledged not yet turned into growth */
};

struct cc_reno {
	uint32_t acked; /* bytes acknowledged towards the next increase (RFC 5681 3.1) */
};

/* The first slow start (RFC 9406), while ssthresh is UINT32_MAX. All zero: it begins. Times are 0 where there is none. */
struct cc_hystart {
	uint32_t round_end;    /* sequence number that ends the round: windowEnd */
	uint32_t last_min_us;  /* lastRoundMinRTT */
	uint32_t round_min_us; /* currentRoundMinRTT */
	uint32_t base_us;      /* cssBaselineMinRtt; 0: not in conservative slow start */
	uint16_t samples;      /* rttSampleCount */
	uint8_t css_rounds;
	bool begun; /* round_end holds */
};

struct cc {
	const struct cc_ops *ops;
	uint32_t cwnd;     /* bytes, >= 1 segment */
	uint32_t ssthresh; /* bytes; UINT32_MAX: no loss seen yet */
	/* When the present curve of growth began; 0: it begins with the next ACK */
	uint32_t epoch_ms;
	union {
		struct cc_cubic cubic;
		struct cc_reno reno;
		struct cc_hystart hystart; /* until ssthresh is known, whatever the algorithm */
	} u;
};

/* What one ACK meant. Lengths in bytes, times in microseconds. */
struct cc_ack {
	uint32_t acked;   /* newly acknowledged, cumulatively or selectively */
	uint32_t mss;     /* sender's segment size */
	uint32_t srtt_us; /* smoothed round trip; 0: not measured yet */
	uint32_t rtt_us;  /* the round trip that this ACK measured; 0: none */
	uint32_t una;     /* what it acknowledges */
	uint32_t next;    /* what is sent next */
	ztime_t now;
};

struct cc_ops {
	const char *name;
	/* A connection starts, changes its algorithm, or leaves its first slow start: cwnd and ssthresh stand and are
	 * kept.
	 */
	void (*init)(struct cc *cc);
	/* New data was acknowledged while not in fast recovery, and the window was what held the
	 * sender back (RFC 7661): may grow cwnd. */
	void (*ack)(struct cc *cc, const struct cc_ack *ack);
	/* Congestion: sets ssthresh (>= 2 @mss) from @pipe, the bytes in flight; leaves cwnd alone. */
	void (*congestion)(struct cc *cc, enum cc_signal why, uint32_t pipe, uint32_t mss);
};

extern const struct cc_ops cc_reno;
extern const struct cc_ops cc_cubic;

/** cc_slow_start() - Return: true while below ssthresh (RFC 5681 3.1). */
static inline bool cc_slow_start(const struct cc *cc)
{
	return cc->cwnd < cc->ssthresh;
}

/**
 * cc_app_limited() - new data was acknowledged, but the application was what held the sender back
 *
 * Such a time must not count as growth (RFC 9438 5.8): a curve of growth is entered again at the
 * present window, which is where it was left.
 */
static inline void cc_app_limited(struct cc *cc)
{
	cc->epoch_ms = 0;
}

/**
 * cc_find() - an algorithm by its name ("reno", "cubic")
 *
 * Return: its table, or NULL when there is none of that name.
 */
const struct cc_ops *cc_find(const char *name);

/**
 * cc_slow_start_ack() - grow cwnd by what was acknowledged, up to ssthresh
 *
 * Shared by all algorithms. The first slow start ends by itself when round trips grow (HyStart++, RFC 9406). Return: acknowledged bytes left over for congestion avoidance.
 */
uint32_t cc_slow_start_ack(struct cc *cc, const struct cc_ack *ack);

/** cc_first_slow_start() - Return: true until the first loss, mark or growth of the round trip. */
static inline bool cc_first_slow_start(const struct cc *cc)
{
	return cc->ssthresh == UINT32_MAX;
}

/** cc_initial_window() - RFC 6928 initial window. Return: bytes for @mss and @segments. */
uint32_t cc_initial_window(uint32_t mss, uint32_t segments);

/**
 * cc_pacing_rate() - bytes per second that spread one window over a round trip
 * @srtt_us: smoothed round trip, 0 when unknown
 *
 * Twice the window per round trip in slow start, 1.2 times after, so that pacing never is what
 * limits growth. Return: bytes per second; UINT64_MAX when the round trip is unknown.
 */
uint64_t cc_pacing_rate(const struct cc *cc, uint32_t srtt_us);

#endif
