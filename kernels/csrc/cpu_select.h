// Which elements of a chunk are kept: exactly the largest, ties to the lower position.
//
// A guess of the threshold, taken from the chunk before, picks candidates while totals are computed; the threshold is bisected
// among these few. Where they are fewer than are kept, or very many, it is bisected over the whole chunk. So a guess changes how
// long it takes and nothing else.

#pragma once

#include "cpu_totals.h"

namespace collab::COLLAB_SET {

// A guess lies below the threshold before it by a share that follows what the chunks are like: about one in thirty fails.
class Guess {
  public:
    float now() const { return now_; }

    void failed() {
        margin_ = margin_ * GROWTH < MOST ? margin_ * GROWTH : MOST;
        now_ *= 0.8f;
    }

    void follow(u32 threshold) {
        margin_ *= DECAY;
        now_ = float_of(threshold) * (1 - margin_);
    }

  private:
    static constexpr float GROWTH = 1.4f, DECAY = 0.99f, MOST = 0.5f;
    float margin_ = 0.1f;
    float now_ = float_of(INFINITY_KEY);
};

struct Selection {
    u16 positions[MAX_K + SLACK];  // of what is kept, ascending
    float totals[MAX_K + SLACK];

    Guess guess;
    Candidates candidates;
    u32 keys[CHUNK + SLACK];  // of candidates, or of the whole chunk
    u16 numbers[MAX_K + SLACK];
};

inline u32 count_reaching(const u32* keys, u32 count, u32 guess) {
    const u32 padded = ceil_div(count, SLACK) * SLACK;
    u32 reached = 0;
    for (u32 i = 0; i < padded; ++i) reached += static_cast<i32>(keys[i]) >= static_cast<i32>(guess) ? 1 : 0;
    return reached;
}

// A key that `kept` or, for ties, more keys reach, and fewer exceed. All `count` >= `kept` keys are from `low` to `high`, and
// followed by SLACK zeros. Every other step halves what is left, every other goes where the key would be if they lay evenly.
inline u32 bisect(const u32* keys, u32 count, u32 kept, u32 low, u32 high) {
    if (count == kept) return low;
    u32 at_low = count, at_high = 0;  // how many keys reach them
    ++high;
    for (bool even = true; high - low > 1; even = !even) {
        const u32 span = high - low;
        const u32 share = static_cast<u32>(static_cast<u64>(span) * (at_low - kept) / (at_low - at_high));
        const u32 middle = low + (even ? smaller(larger(share, 1), span - 1) : span / 2);
        const u32 reached = count_reaching(keys, count, middle);
        if (reached == kept) return middle;
        (reached > kept ? low : high) = middle;
        (reached > kept ? at_low : at_high) = reached;
    }
    return low;
}

// The threshold among totals whose keys are at least `low`, or INFINITY_KEY if one is not finite.
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

// The numbers of exactly `kept` totals: those above the threshold, and the first that equal it.
inline void list_kept(u16* numbers, const float* totals, u32 count, u32 kept, u32 threshold) {
    u64 words[CHUNK / WORD];
    u32 used = 0, reached = 0;
    for (u32 at = 0; at < count; at += WORD) {
        words[used] = reaching_up_to(totals + at, count - at, float_of(threshold));
        reached += ones(words[used++]);
    }
    for (u32 word = used; reached > kept;) {
        const u32 at = --word * WORD;
        u64 ties = words[word] & ~reaching_up_to(totals + at, count - at, float_of(threshold + 1));
        for (; ties != 0 && reached > kept; --reached) {
            const u64 last = 1ull << highest(ties);
            ties ^= last;
            words[word] ^= last;
        }
    }
    list_ones(words, used, numbers);
}

inline bool choose_among_all(Selection& s, const Chunk& chunk, u32 kept) {
    const u32 threshold = threshold_of(s.keys, chunk.totals, chunk.size, kept, 0);
    if (threshold == INFINITY_KEY) return false;
    list_kept(s.positions, chunk.totals, chunk.size, kept, threshold);
    for (u32 i = 0; i < kept; ++i) s.totals[i] = chunk.totals[s.positions[i]];
    s.guess.follow(threshold);
    return true;
}

inline bool choose_among_candidates(Selection& s, u32 kept) {
    const Candidates& from = s.candidates;
    const u32 threshold = threshold_of(s.keys, from.totals, from.count, kept, key_of(s.guess.now()));
    if (threshold == INFINITY_KEY) return false;
    list_kept(s.numbers, from.totals, from.count, kept, threshold);
    for (u32 i = 0; i < kept; ++i) s.positions[i] = from.positions[s.numbers[i]];
    for (u32 i = 0; i < kept; ++i) s.totals[i] = from.totals[s.numbers[i]];
    s.guess.follow(threshold);
    return true;
}

// Computes a chunk's totals and chooses `kept` of them. Returns whether all totals are finite.
inline bool select(Selection& s, const Chunk& chunk, u32 kept) {
    add_up_and_collect(s.candidates, chunk, s.guess.now());
    if (s.candidates.count < kept) {
        s.guess.failed();
        collect(s.candidates, chunk, s.guess.now());
    }
    const bool few = kept <= s.candidates.count && s.candidates.count <= MAX_CANDIDATES;
    return few ? choose_among_candidates(s, kept) : choose_among_all(s, chunk, kept);
}

}  // namespace collab::COLLAB_SET
