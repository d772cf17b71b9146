/* wire_csum.c - the internet checksum, eight bytes at a time, and 64 of what is long
 *
 * One's complement sums do not care about byte order (RFC 1071 section 2 (B)), so words are added
 * as the machine loads them and the folded result is stored as it is. A carry makes each addition
 * wait for the one before; the halves of words in 64-bit lanes have none, and no two lanes wait for each other.
 */
#include "stack/wire/wire_csum.h"

#include <string.h>

#define LONG       64
#define LONG_LEAST 128 /* below it is cheaper to go on word by word */

static inline uint64_t csum_load64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static uint64_t csum_tail(uint64_t sum, const uint8_t *p, size_t len)
{
	uint64_t word = 0;

	if (len == 4) { /* what headers leave */
		uint32_t w;

		memcpy(&w, p, sizeof(w));
		return sum + w;
	}
	for (size_t i = 0; i < len; i++)
		word |= (uint64_t)p[i] << (8 * i);
	return wire_csum_word(sum, word);
}

/* End-around carry: an addition and one with carry. */
static inline uint64_t csum_around(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

typedef uint64_t csum_lanes __attribute__((vector_size(16)));

static inline csum_lanes csum_load128(const uint8_t *p)
{
	csum_lanes v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* @len: a multiple of LONG */
static uint64_t csum_long(const uint8_t *p, size_t len)
{
	const csum_lanes low = { 0xffffffffu, 0xffffffffu };
	csum_lanes even[2] = { { 0 } }, odd[2] = { { 0 } };

	for (; len; len -= LONG, p += LONG) {
		const csum_lanes a = csum_load128(p), b = csum_load128(p + 16),
				 c = csum_load128(p + 32), d = csum_load128(p + 48);

		even[0] += (a & low) + (b & low);
		odd[0] += (a >> 32) + (b >> 32);
		even[1] += (c & low) + (d & low);
		odd[1] += (c >> 32) + (d >> 32);
	}
	even[0] += even[1] + odd[0] + odd[1];
	return even[0][0] + even[0][1];
}

uint64_t wire_csum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t part = 0;

	if (len >= LONG_LEAST) {
		const size_t most = len & ~(size_t)(LONG - 1);

		sum += csum_long(p, most);
		p += most;
		len -= most;
	}
	for (; len >= 32; len -= 32, p += 32) {
		part = csum_around(part, csum_load64(p));
		part = csum_around(part, csum_load64(p + 8));
		part = csum_around(part, csum_load64(p + 16));
		part = csum_around(part, csum_load64(p + 24));
	}
	for (; len >= 8; len -= 8, p += 8)
		part = csum_around(part, csum_load64(p));
	sum = wire_csum_word(sum, part);
	return len ? csum_tail(sum, p, len) : sum;
}

/*
 * A part at an odd offset has its bytes in the other halves of the words (RFC 1071 section 2 (B)).
 */
uint64_t wire_csum_join(uint64_t sum, const void *data, size_t len, bool *odd)
{
	uint64_t part = wire_csum_add(0, data, len);

	if (*odd)
		part = __builtin_bswap16((uint16_t)~wire_csum_fold(part));
	*odd ^= len & 1;
	return wire_csum_word(sum, part);
}
