// A chunk's totals, written where its residual will be, and the candidates among them: the one pass over memory.
//
// The pass is limited by memory, so that picking candidates beside it costs little.

#pragma once

#include "cpu_masks.h"
#include "cpu_operations.h"

namespace collab::COLLAB_SET {

struct Chunk {
    const void* delta;
    const float* residual;  // or null
    float* totals;
    u32 size;
    float decay;
    bool is_bf16;
};

inline Chunk chunk_of(const Source& source, float decay, u64 start, u32 size) {
    const bool is_bf16 = source.is_bf16 != 0;
    const u8* delta = static_cast<const u8*>(source.delta) + start * (is_bf16 ? sizeof(u16) : sizeof(float));
    return {delta, source.residual == nullptr ? nullptr : source.residual + start, source.out + start, size, decay, is_bf16};
}

template <class Delta>
inline void add_up(const Chunk& chunk, u32 at, u32 count) {
    const float* residual = chunk.residual == nullptr ? nullptr : chunk.residual + at;
    add_up(static_cast<const Delta*>(chunk.delta) + at, residual, chunk.decay, chunk.totals + at, count);
}

// totals = decay * residual + delta
inline void add_up(const Chunk& chunk) {
    if (chunk.is_bf16) {
        add_up<u16>(chunk, 0, chunk.size);
    } else {
        add_up<float>(chunk, 0, chunk.size);
    }
}

constexpr u32 MAX_CANDIDATES = 1024;

// Totals that reach a guess, in order. Where they are more than MAX_CANDIDATES, only their number is right.
struct Candidates {
    u32 count;
    u16 positions[MAX_CANDIDATES + WORD + SLACK];
    float totals[MAX_CANDIDATES + WORD + SLACK];

    // Those of the 64 in `block`, which begins at position `at`.
    void add(const float* block, u32 at, u64 marks) {
        constexpr u32 GROUP = 4;  // written whether they are marked or not, so that there is no branch for each
        const u32 marked = ones(marks);
        for (u32 done = 0; done < marked && count <= MAX_CANDIDATES; done += GROUP) {
            for (u32 i = 0; i < GROUP; ++i, marks &= marks - 1) {
                const u32 bit = lowest(marks);
                positions[count + done + i] = static_cast<u16>(at + bit);
                totals[count + done + i] = block[bit];
            }
        }
        count += marked;
    }
};

// Asks for a word's worth of memory that the pass will come to, in this chunk or the next. It need not exist.
inline void prefetch(const void* from, u64 elements, u64 size) {
    constexpr u64 AHEAD = 512, LINE = 64;
    const u64 address = reinterpret_cast<u64>(from) + (elements + AHEAD) * size;
    for (u64 i = 0; i < WORD * size; i += LINE) __builtin_prefetch(reinterpret_cast<const void*>(address + i));
}

// Totals of a chunk that reach `guess`. `marks(at)` tells which of the 64 from `at` on do; before the last few are seen, fewer than
// 64, `rest(at, count)` is called.
template <class Marks, class Rest>
inline void collect(Candidates& candidates, const Chunk& chunk, float guess, Marks marks, Rest rest) {
    candidates.count = 0;
    u32 at = 0;
    for (; at + WORD <= chunk.size; at += WORD) candidates.add(chunk.totals + at, at, marks(at));
    if (at == chunk.size) return;
    rest(at, chunk.size - at);
    const Padded last(chunk.totals + at, chunk.size - at);
    candidates.add(last.totals, at, last.reaching(guess));
}

inline void collect(Candidates& candidates, const Chunk& chunk, float guess) {
    collect(candidates, chunk, guess, [&](u32 at) { return reaching(chunk.totals + at, guess); }, [](u32, u32) {});
}

template <class Delta>
inline void add_up_and_collect(Candidates& candidates, const Chunk& chunk, float guess) {
    const Delta* delta = static_cast<const Delta*>(chunk.delta);
    const float* residual = chunk.residual;
    collect(
        candidates, chunk, guess,
        [&](u32 at) {
            prefetch(delta, at, sizeof(Delta));
            prefetch(residual == nullptr ? chunk.totals : residual, at, sizeof(float));
            const float* before = residual == nullptr ? nullptr : residual + at;
            return add_up_and_mark(delta + at, before, chunk.decay, chunk.totals + at, guess);
        },
        [&](u32 at, u32 count) { add_up<Delta>(chunk, at, count); });
}

// add_up and collect in one pass.
inline void add_up_and_collect(Candidates& candidates, const Chunk& chunk, float guess) {
    if (chunk.is_bf16) {
        add_up_and_collect<u16>(candidates, chunk, guess);
    } else {
        add_up_and_collect<float>(candidates, chunk, guess);
    }
}

}  // namespace collab::COLLAB_SET
