// A chunk's totals, written where its residual will be: the one pass over memory.

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

template <class Delta>
inline void add_up_and_mark(const Chunk& chunk, float guess, Marks& marks) {
    marks.clear();
    u32 at = 0;
    for (; at + WORD <= chunk.size; at += WORD) {
        add_up<Delta>(chunk, at, WORD);
        marks.add(reaching(chunk.totals + at, guess));
    }
    if (at == chunk.size) return;
    add_up<Delta>(chunk, at, chunk.size - at);
    marks.add(reaching(chunk.totals + at, chunk.size - at, guess));
}

// The same, and marks totals that reach a guess while they are at hand.
inline void add_up_and_mark(const Chunk& chunk, float guess, Marks& marks) {
    if (chunk.is_bf16) {
        add_up_and_mark<u16>(chunk, guess, marks);
    } else {
        add_up_and_mark<float>(chunk, guess, marks);
    }
}

#ifndef PFN
#define PFN 2
#define PFL 2
#define PFW 0
#endif
// Asks for the part of the next chunk that lies as the given word of this one, while the processor has other things to do.
inline void prefetch_next(const Chunk& chunk, u32 word) {
    constexpr u32 LINE = 64;
    for (u32 i = 0; i < PFN; ++i) {
        __builtin_prefetch(reinterpret_cast<const char*>(chunk.totals + chunk.size) + (PFN * word + i) * LINE, PFW, PFL);
        __builtin_prefetch(static_cast<const char*>(chunk.delta) + 4 * chunk.size + (PFN * word + i) * LINE, PFW, PFL);
    }
}

}  // namespace collab::COLLAB_SET
