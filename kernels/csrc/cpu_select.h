// Which elements of a chunk are kept: exactly the largest, ties to the lower position.
//
// A guess of the threshold, taken from the chunk before, marks candidates while totals are computed; the threshold is bisected among
// these few. Where the guess marks fewer than are kept, or very many, it is bisected over the whole chunk. So a guess changes
// how long it takes and nothing else.

#pragma once

#include "cpu_bits.h"
#include "cpu_totals.h"

namespace collab::COLLAB_SET {

#ifdef TICKS
extern u64 ticks[16];
#define TICK(i) { u64 now_ = __builtin_ia32_rdtsc(); ticks[i] += now_ - tick_; tick_ = now_; }
#define TICK0 u64 tick_ = __builtin_ia32_rdtsc();
#else
#define TICK(i)
#define TICK0
#endif
constexpr u32 MAX_CANDIDATES = 1024;
static_assert(MAX_K < MAX_CANDIDATES, "what is kept is among the candidates");
constexpr u32 SLACK = 16;  // positions and keys are written in groups
// The share by which a guess lies below the threshold before it follows what the chunks are like: one guess in thirty fails.
constexpr float FIRST_MARGIN = 0.1f, MARGIN_GROWTH = 1.4f, MARGIN_DECAY = 0.99f;
constexpr float SECOND_GUESS = 0.8f;

struct Selection {
    float guess = float_of(INFINITY_KEY);
    float margin = FIRST_MARGIN;
    Marks marks;
    u32 keys[CHUNK + SLACK];  // of candidates, or of the whole chunk
    u16 places[MAX_CANDIDATES + SLACK];
    float totals[MAX_CANDIDATES];
    u16 numbers[MAX_K + SLACK];  // of candidates that are kept

    u16 positions[MAX_K + SLACK];  // the result
    float kept[MAX_K];
};

inline u64 reaching_up_to(const float* totals, u32 count, float guess) {
    return count >= WORD ? reaching(totals, guess) : reaching(totals, count, guess);
}

inline void mark(Marks& marks, const float* totals, u32 size, float guess) {
    marks.clear();
    for (u32 at = 0; at < size; at += WORD) marks.add(reaching_up_to(totals + at, size - at, guess));
}

// Marks exactly `kept` of the totals, given the threshold: those above it, and the first that equal it.
inline void mark_kept(Marks& marks, const float* totals, u32 size, u32 kept, u32 threshold) {
    mark(marks, totals, size, float_of(threshold));
    for (u32 word = marks.used; marks.count > kept;) {
        const u32 at = --word * WORD;
        u64 ties = marks.words[word] & ~reaching_up_to(totals + at, size - at, float_of(threshold + 1));
        for (; ties != 0 && marks.count > kept; --marks.count) {
            const u64 last = 1ull << (63 - __builtin_clzll(ties));
            ties ^= last;
            marks.words[word] ^= last;
        }
    }
}

// Writes the positions of marked elements in order, and some entries beyond that mean nothing: no branch depends on a single mark.
template <u32 GROUP, class Meanwhile>
inline void list(const Marks& marks, u16* positions, Meanwhile meanwhile) {
    for (u32 word = 0; word < marks.used; ++word) {
        meanwhile(word);
        u64 left = marks.words[word];
        const u32 count = ones(left);
        u32 done = 0;
        do {
            for (u32 i = 0; i < GROUP; ++i, left &= left - 1) positions[done + i] = static_cast<u16>(word * WORD + lowest(left));
            done += GROUP;
        } while (done < count);
        positions += count;
    }
}

inline u32 count_reaching(const u32* keys, u32 count, u32 guess) {
    const u32 padded = ceil_div(count, SLACK) * SLACK;
    u32 reached = 0;
    for (u32 i = 0; i < padded; ++i) reached += static_cast<i32>(keys[i]) >= static_cast<i32>(guess) ? 1 : 0;
    return reached;
}

// A key that `kept` or, for ties, more keys reach, and fewer exceed. All `count` >= `kept` keys are from `low` to `high`, and followed
// by SLACK zeros.
inline u32 bisect(const u32* keys, u32 count, u32 kept, u32 low, u32 high) {
    if (count == kept) return low;
    for (++high; high - low > 1;) {
        const u32 middle = low + (high - low) / 2, reached = count_reaching(keys, count, middle);
        if (reached == kept) return middle;
        (reached > kept ? low : high) = middle;
    }
    return low;
}

// Turns totals into keys and returns the threshold, or `INFINITY_KEY` if one is not finite.
inline u32 threshold_of(u32* keys, const float* totals, u32 count, u32 kept, u32 low) {
    u32 high = 0;
    for (u32 i = 0; i < count; ++i) {
        keys[i] = key_of(totals[i]);
        high = larger(high, keys[i]);
    }
    if (high >= INFINITY_KEY) return INFINITY_KEY;
    for (u32 i = count; i < count + SLACK; ++i) keys[i] = 0;
    return bisect(keys, count, kept, low, high);
}

// Computes totals and marks candidates; lowers the guess if they are too few.
inline void mark_candidates(Selection& s, const Chunk& chunk, u32 kept) {
    add_up_and_mark(chunk, s.guess, s.marks);
    s.margin *= MARGIN_DECAY;
    if (s.marks.count >= kept) return;
    s.margin = s.margin * MARGIN_GROWTH < 0.5f ? s.margin * MARGIN_GROWTH : 0.5f;
    s.guess *= SECOND_GUESS;
    mark(s.marks, chunk.totals, chunk.size, s.guess);
}

// Computes a chunk's totals and chooses `kept` of them. Returns whether all totals are finite.
inline bool select(Selection& s, const Chunk& chunk, u32 kept) {
    const float* totals = chunk.totals; const u32 size = chunk.size;
    TICK0 mark_candidates(s, chunk, kept);TICK(0)
    const u32 candidates = s.marks.count;
#ifdef TICKS
    ticks[8] += candidates; ticks[9]++; ticks[10] += candidates > MAX_CANDIDATES; ticks[11] += candidates < kept;
#endif
    u32 threshold;
    if (candidates < kept || candidates > MAX_CANDIDATES) {
        threshold = threshold_of(s.keys, totals, size, kept, 0);
        if (threshold == INFINITY_KEY) return false;
        mark_kept(s.marks, totals, size, kept, threshold);
        list<4>(s.marks, s.positions, [&](u32 word) { prefetch_next(chunk, word); });
    } else {
        list<4>(s.marks, s.places, [&](u32 word) { prefetch_next(chunk, word); });
        for (u32 i = 0; i < candidates; ++i) s.totals[i] = totals[s.places[i]];
        TICK(1)threshold = threshold_of(s.keys, s.totals, candidates, kept, key_of(s.guess));TICK(2)
        if (threshold == INFINITY_KEY) return false;
        mark_kept(s.marks, s.totals, candidates, kept, threshold);
        list<8>(s.marks, s.numbers, [](u32){});
        for (u32 i = 0; i < kept; ++i) s.positions[i] = s.places[s.numbers[i]];TICK(3)
    }
    for (u32 i = 0; i < kept; ++i) s.kept[i] = totals[s.positions[i]];
    s.guess = mul(float_of(threshold), 1.0f - s.margin);
    return true;
}

}  // namespace collab::COLLAB_SET
