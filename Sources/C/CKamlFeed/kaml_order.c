#include "kaml_order.h"

#include <errno.h>

/* A permutation of 0..n-1 is a Feistel network over pairs (low, high) with low < 2^h and high < ceil(n / 2^h), whose rounds
 * add instead of xor, so that odd permutations occur too; what falls on n or above goes through again ("cycle walking").
 * The domain exceeds n by less than 2^h <= sqrt(n), so that hardly happens but for very small n. */

/* The finaliser of splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static inline uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

#define GOLDEN UINT64_C(0x9E3779B97F4A7C15)
#define MOST_RECORDS (UINT64_C(1) << 62)

/* keys[0] and keys[1] are those of KAML_ORDER_BLOCKS; the rest are for rounds. */
enum { SHORT_POSITION = 0, BLOCKS = 1, ROUND_KEYS = 2, ROUND_KEY_COUNT = 6 };

struct permutation {
    const uint64_t *keys;
    uint64_t tweak;
    uint64_t count;
    uint64_t low_mask;
    uint64_t highs;
    unsigned low_bits;
    int rounds;
};

static struct permutation permutation_of(const struct kaml_order *order, uint64_t count, uint64_t tweak) {
    struct permutation p = {.keys = order->keys + ROUND_KEYS, .tweak = tweak, .count = count};
    unsigned bits = count > 1 ? 64 - (unsigned)__builtin_clzll(count - 1) : 0;
    p.low_bits = bits / 2;
    p.low_mask = (UINT64_C(1) << p.low_bits) - 1;
    p.highs = count ? ((count - 1) >> p.low_bits) + 1 : 1;
    /* Few pairs give few random bits a round. */
    p.rounds = count > 256 ? 8 : 24;
    return p;
}

static inline uint64_t round_value(const struct permutation *p, int round, uint64_t half) {
    uint64_t key = p->keys[(unsigned)round % ROUND_KEY_COUNT] + p->tweak + (uint64_t)round * GOLDEN;
    return mix((half * GOLDEN) ^ key);
}

/* `value` scaled to 0..highs-1, which is below 2^32. */
static inline uint64_t scaled(uint64_t value, uint64_t highs) { return ((value >> 32) * highs) >> 32; }

static inline uint64_t forward(const struct permutation *p, uint64_t index) {
    do {
        uint64_t low = index & p->low_mask, high = index >> p->low_bits;
        for (int round = 0; round < p->rounds; round += 2) {
            high += scaled(round_value(p, round, low), p->highs);
            if (high >= p->highs) high -= p->highs;
            low = (low + (round_value(p, round + 1, high) >> 32)) & p->low_mask;
        }
        index = high << p->low_bits | low;
    } while (index >= p->count);
    return index;
}

static inline uint64_t backward(const struct permutation *p, uint64_t index) {
    do {
        uint64_t low = index & p->low_mask, high = index >> p->low_bits;
        for (int round = p->rounds - 2; round >= 0; round -= 2) {
            low = (low - (round_value(p, round + 1, high) >> 32)) & p->low_mask;
            high += p->highs - scaled(round_value(p, round, low), p->highs);
            if (high >= p->highs) high -= p->highs;
        }
        index = high << p->low_bits | low;
    } while (index >= p->count);
    return index;
}

int kaml_order_init(struct kaml_order *order, uint32_t version, uint32_t kind, uint64_t records, uint64_t seed,
                    uint64_t epoch, uint64_t block, uint64_t window) {
    if (version != KAML_ORDER_VERSION || records > MOST_RECORDS) return EINVAL;
    if (kind < KAML_ORDER_SEQUENTIAL || kind > KAML_ORDER_BLOCKS) return EINVAL;
    if (kind == KAML_ORDER_BLOCKS && (block == 0 || window == 0)) return EINVAL;
    *order = (struct kaml_order){.records = records, .seed = seed, .epoch = epoch, .kind = kind, .version = version};
    uint64_t state = mix(seed + GOLDEN);
    state = mix(state ^ (epoch + GOLDEN));
    state = mix(state ^ ((uint64_t)version << 32 | kind));
    for (int i = 0; i < ROUND_KEY_COUNT; i++) {
        state += GOLDEN;
        order->keys[ROUND_KEYS + i] = mix(state);
    }
    if (kind != KAML_ORDER_BLOCKS || records == 0) return 0;
    /* More than there is means all. */
    order->block = block < records ? block : records;
    uint64_t blocks = (records - 1) / order->block + 1;
    order->window = window < blocks ? window : blocks;
    struct permutation p = permutation_of(order, blocks, 0);
    order->keys[BLOCKS] = blocks;
    order->keys[SHORT_POSITION] = backward(&p, blocks - 1);
    return 0;
}

/* Runs of `size` records each, but for the one at `short_run`, which has `missing` fewer: where run `run` begins. */
static inline uint64_t run_begin(uint64_t run, uint64_t size, uint64_t short_run, uint64_t missing) {
    return run * size - (run > short_run ? missing : 0);
}

/* The run that holds `place`. */
static inline uint64_t run_of(uint64_t place, uint64_t size, uint64_t short_run, uint64_t missing) {
    return (place < (short_run + 1) * size - missing ? place : place + missing) / size;
}

/* How KAML_ORDER_BLOCKS cuts an epoch. Only the last block is short; it may come to lie anywhere. */
struct cut {
    uint64_t missing;
    uint64_t short_position;
    uint64_t window_records;
    uint64_t short_window;
};

static inline struct cut cut_of(const struct kaml_order *order) {
    struct cut cut = {.missing = order->keys[BLOCKS] * order->block - order->records,
                      .short_position = order->keys[SHORT_POSITION],
                      .window_records = order->window * order->block};
    cut.short_window = cut.short_position / order->window;
    return cut;
}

/* Of the records of a window. */
static inline struct permutation window_permutation(const struct kaml_order *order, const struct cut *cut, uint64_t window) {
    uint64_t begin = run_begin(window, cut->window_records, cut->short_window, cut->missing);
    uint64_t end = run_begin(window + 1, cut->window_records, cut->short_window, cut->missing);
    if (end > order->records) end = order->records;
    return permutation_of(order, end - begin, mix((window + 1) * GOLDEN));
}

/* The short block's position relative to its window; past the end in all others. */
static inline uint64_t short_in_window(const struct kaml_order *order, const struct cut *cut, uint64_t window) {
    return window == cut->short_window ? cut->short_position - window * order->window : order->window;
}

uint64_t kaml_order_record(const struct kaml_order *order, uint64_t ordinal) {
    if (ordinal >= order->records) return UINT64_MAX;
    if (order->kind == KAML_ORDER_SEQUENTIAL) return ordinal;
    if (order->kind == KAML_ORDER_SHUFFLED) {
        struct permutation p = permutation_of(order, order->records, 0);
        return forward(&p, ordinal);
    }
    struct cut cut = cut_of(order);
    uint64_t window = run_of(ordinal, cut.window_records, cut.short_window, cut.missing);
    struct permutation inner = window_permutation(order, &cut, window);
    uint64_t place = forward(&inner, ordinal - run_begin(window, cut.window_records, cut.short_window, cut.missing));
    uint64_t short_run = short_in_window(order, &cut, window);
    uint64_t run = run_of(place, order->block, short_run, cut.missing);
    struct permutation outer = permutation_of(order, order->keys[BLOCKS], 0);
    uint64_t block = forward(&outer, window * order->window + run);
    return block * order->block + (place - run_begin(run, order->block, short_run, cut.missing));
}

uint64_t kaml_order_ordinal(const struct kaml_order *order, uint64_t record) {
    if (record >= order->records) return UINT64_MAX;
    if (order->kind == KAML_ORDER_SEQUENTIAL) return record;
    if (order->kind == KAML_ORDER_SHUFFLED) {
        struct permutation p = permutation_of(order, order->records, 0);
        return backward(&p, record);
    }
    struct cut cut = cut_of(order);
    struct permutation outer = permutation_of(order, order->keys[BLOCKS], 0);
    uint64_t position = backward(&outer, record / order->block);
    uint64_t window = position / order->window;
    uint64_t short_run = short_in_window(order, &cut, window);
    uint64_t run = position - window * order->window;
    uint64_t place = run_begin(run, order->block, short_run, cut.missing) + record % order->block;
    struct permutation inner = window_permutation(order, &cut, window);
    return run_begin(window, cut.window_records, cut.short_window, cut.missing) + backward(&inner, place);
}

uint64_t kaml_order_steps(uint64_t records, uint64_t ordinal, uint64_t batch, uint32_t world, int drop) {
    if (ordinal >= records || batch == 0) return 0;
    uint64_t left = records - ordinal, ranks = world ? world : 1;
    /* A step of all ranks that takes more than there is. */
    if (batch > left / ranks) return drop ? 0 : 1;
    uint64_t step = batch * ranks;
    return drop ? left / step : (left - 1) / step + 1;
}
