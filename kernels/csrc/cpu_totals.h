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

inline float element(const float* delta, u32 i) { return delta[i]; }
inline float element(const u16* delta, u32 i) { return bf16_value(delta[i]); }

template <class Delta>
inline void add_up(const Chunk& chunk, u32 at, u32 count) {
    const Delta* delta = static_cast<const Delta*>(chunk.delta) + at;
    float* totals = chunk.totals + at;
    if (chunk.residual == nullptr) {
        COLLAB_INDEPENDENT
        for (u32 i = 0; i < count; ++i) totals[i] = element(delta, i);
    } else {
        const float* residual = chunk.residual + at;
        COLLAB_INDEPENDENT
        for (u32 i = 0; i < count; ++i) totals[i] = add(mul(chunk.decay, residual[i]), element(delta, i));
    }
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

template <class Delta>
inline void add_up_ahead(const Chunk& chunk, u32 at, u32 count) {
    prefetch(chunk.delta, at, sizeof(Delta));
    prefetch(chunk.residual == nullptr ? chunk.totals : chunk.residual, at, sizeof(float));
    add_up<Delta>(chunk, at, count);
}

// Those of a chunk, whose totals `before(at, count)` computes block by block.
template <class Before>
inline void collect(Candidates& candidates, const Chunk& chunk, float guess, Before before) {
    candidates.count = 0;
    u32 at = 0;
    for (; at + WORD <= chunk.size; at += WORD) {
        before(at, WORD);
        candidates.add(chunk.totals + at, at, reaching(chunk.totals + at, guess));
    }
    if (at == chunk.size) return;
    before(at, chunk.size - at);
    const Padded last(chunk.totals + at, chunk.size - at);
    candidates.add(last.totals, at, last.reaching(guess));
}

inline void collect(Candidates& candidates, const Chunk& chunk, float guess) {
    collect(candidates, chunk, guess, [](u32, u32) {});
}

// add_up and collect in one pass.
inline void add_up_and_collect(Candidates& candidates, const Chunk& chunk, float guess) {
    if (chunk.is_bf16) {
        collect(candidates, chunk, guess, [&](u32 at, u32 count) { add_up_ahead<u16>(chunk, at, count); });
    } else {
        collect(candidates, chunk, guess, [&](u32 at, u32 count) { add_up_ahead<float>(chunk, at, count); });
    }
}

}  // namespace collab::COLLAB_SET
