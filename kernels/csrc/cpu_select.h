// Which elements of a chunk are kept: exactly the largest, ties to the lower position.
//
// A guess of the threshold, taken from the chunk before, marks candidates while totals are computed; the threshold is bisected
// among these few. Where they are fewer than are kept, all are candidates. So a guess changes how long it takes and nothing else.

#pragma once

#include "cpu_ones.h"
#include "cpu_totals.h"

namespace collab::COLLAB_SET {

// A guess lies below the threshold before it by a share that follows what the chunks are like: about one in thirty fails.
class Guess {
  public:
    float now() const { return now_; }

    void failed() {
        margin_ = margin_ * GROWTH < MOST ? margin_ * GROWTH : MOST;
        now_ = again_ ? 0 : 0.8f * now_;
        again_ = true;
    }

    void follow(u32 threshold) {
        margin_ *= DECAY;
        now_ = float_of(threshold) * (1 - margin_);
        again_ = false;
    }

  private:
    static constexpr float GROWTH = 1.4f, DECAY = 0.99f, MOST = 0.5f;
    float margin_ = 0.1f;
    float now_ = 0;
    bool again_ = false;
};

struct Selection {
    u16 positions[MAX_K + SLACK];  // of what is kept, ascending
    float totals[MAX_K + SLACK];

    Guess guess;
    Marks marks;
    u16 candidates[CHUNK + SLACK];  // their positions
    float magnitudes[CHUNK + SLACK];
    u16 numbers[MAX_K + SLACK];  // of what is kept, among candidates
};

inline u32 count_reaching(const float* magnitudes, u32 count, float guess) {
    constexpr u32 LANES = 16;  // of the widest set
    const u32 padded = ceil_div(count, LANES) * LANES;
    u32 reached = 0;
    for (u32 i = 0; i < padded; ++i) reached += magnitudes[i] >= guess ? 1 : 0;
    return reached;
}

// A key that `kept` magnitudes or, for ties, more reach, and fewer exceed. The keys of all `count` >= `kept` are from `low` to
// `high`, and SLACK zeros follow. Every other step halves what is left, every other goes where the key would be if they lay evenly.
inline u32 bisect(const float* magnitudes, u32 count, u32 kept, u32 low, u32 high, Following& following) {
    if (count == kept) return low;
    u32 at_low = count, at_high = 0;  // how many reach them
    ++high;
    for (bool even = true; high - low > 1; even = !even) {
        following.ask(2);
        const u32 span = high - low;
        const u32 share = static_cast<u32>(static_cast<u64>(span) * (at_low - kept) / (at_low - at_high));
        const u32 middle = low + (even ? smaller(larger(share, 1), span - 1) : span / 2);
        const u32 reached = count_reaching(magnitudes, count, float_of(middle));
        if (reached == kept) return middle;
        (reached > kept ? low : high) = middle;
        (reached > kept ? at_low : at_high) = reached;
    }
    return low;
}

// The numbers of exactly `kept` magnitudes: those above the threshold, and the first that equal it.
inline void list_kept(u16* numbers, const float* magnitudes, u32 count, u32 kept, u32 threshold) {
    u64 words[CHUNK / WORD];
    u32 used = 0, reached = 0;
    for (u32 at = 0; at < count; at += WORD) {
        words[used] = reaching_up_to(magnitudes + at, count - at, float_of(threshold));
        reached += ones(words[used++]);
    }
    for (u32 word = used; reached > kept;) {
        const u32 at = --word * WORD;
        u64 ties = words[word] & ~reaching_up_to(magnitudes + at, count - at, float_of(threshold + 1));
        for (; ties != 0 && reached > kept; --reached) {
            const u64 last = 1ull << highest(ties);
            ties ^= last;
            words[word] ^= last;
        }
    }
    list_ones(words, used, numbers);
}

// Computes a chunk's totals and marks at least `kept` of them.
inline void add_up_and_mark(Selection& s, const Chunk& chunk, u32 kept) {
    add_up_and_mark(s.marks, chunk, s.guess.now());
    while (s.marks.count < kept) {
        s.guess.failed();
        mark(s.marks, chunk, s.guess.now());
    }
}

// Lists candidates and their magnitudes. Returns the key of the largest.
inline u32 list_candidates(Selection& s, const Chunk& chunk, Following& following) {
    constexpr u32 GROUP = 4;  // written whether they are candidates or not, so that there is no branch for each
    u32 listed = 0;
    for (u32 at = 0; at < chunk.size; at += WORD) {
        u64 word = s.marks.words[at / WORD];
        const u64 last = 1ull << (smaller(chunk.size - at, WORD) - 1);  // stands for those that are none
        const u32 end = listed + ones(word);
        do {
            for (u32 i = listed; i < listed + GROUP; ++i, word &= word - 1) {
                const u32 position = at + lowest(word | last);
                s.candidates[i] = static_cast<u16>(position);
                s.magnitudes[i] = chunk.totals[position];
            }
            listed += GROUP;
        } while (listed < end);
        listed = end;
        following.ask(1);
    }
    u32 high = 0;
    for (u32 i = 0; i < listed; ++i) {
        const u32 key = key_of(s.magnitudes[i]);
        s.magnitudes[i] = float_of(key);
        high = larger(high, key);
    }
    for (u32 i = listed; i < listed + SLACK; ++i) s.magnitudes[i] = 0;
    return high;
}

// Computes a chunk's totals and chooses `kept` of them. Returns whether all totals are finite.
inline bool select(Selection& s, const Chunk& chunk, u32 kept, Following& following) {
    add_up_and_mark(s, chunk, kept);
    const u32 high = list_candidates(s, chunk, following);
    if (high >= INFINITY_KEY) return false;
    const u32 threshold = bisect(s.magnitudes, s.marks.count, kept, key_of(s.guess.now()), high, following);
    list_kept(s.numbers, s.magnitudes, s.marks.count, kept, threshold);
    following.ask(3);
    for (u32 i = 0; i < kept; ++i) s.positions[i] = s.candidates[s.numbers[i]];
    for (u32 i = 0; i < kept; ++i) s.totals[i] = chunk.totals[s.positions[i]];
    following.ask(3);
    s.guess.follow(threshold);
    return true;
}

}  // namespace collab::COLLAB_SET
