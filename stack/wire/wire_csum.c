/* wire_csum.c - the internet checksum, eight bytes at a time
 *
 * One's complement sums do not care about byte order (RFC 1071 section 2 (B)), so words are added
 * as the machine loads them and the folded result is stored as it is.
 */
#include "stack/wire/wire_csum.h"

#include <string.h>

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

uint64_t wire_csum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t part = 0;

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
