// A chunk's totals, written where its residual will be, and marks at the candidates among them: the one pass over memory.

#pragma once

#include "cpu_following.h"
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

inline Following following(const Chunk& chunk) {
    const u32 bytes = chunk.is_bf16 ? sizeof(u16) : sizeof(float);
    const float* residual = chunk.residual == nullptr ? chunk.totals : chunk.residual;
    return {static_cast<const u8*>(chunk.delta) + bytes * chunk.size, bytes, residual + chunk.size, chunk.size};
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

// A chunk's totals that reach a guess, a bit each.
struct Marks {
    u64 words[CHUNK / WORD];
    u32 count;
};

// `full(at)` tells which of the 64 totals from `at` on reach `guess`; before the last few, fewer than 64, `rest(at, count)` is called.
template <class Full, class Rest>
inline void mark(Marks& marks, const Chunk& chunk, float guess, Full full, Rest rest) {
    marks.count = 0;
    u32 at = 0;
    for (; at + WORD <= chunk.size; at += WORD) marks.words[at / WORD] = full(at);
    if (at < chunk.size) {
        rest(at, chunk.size - at);
        marks.words[at / WORD] = Padded(chunk.totals + at, chunk.size - at).reaching(guess);
    }
    for (u32 i = 0; i < ceil_div(chunk.size, WORD); ++i) marks.count += ones(marks.words[i]);
}

inline void mark(Marks& marks, const Chunk& chunk, float guess) {
    mark(marks, chunk, guess, [&](u32 at) { return reaching(chunk.totals + at, guess); }, [](u32, u32) {});
}

template <class Delta>
inline void add_up_and_mark(Marks& marks, const Chunk& chunk, float guess) {
    const Delta* delta = static_cast<const Delta*>(chunk.delta);
    mark(
        marks, chunk, guess,
        [&](u32 at) {
            const float* before = chunk.residual == nullptr ? nullptr : chunk.residual + at;
            return add_up_and_mark(delta + at, before, chunk.decay, chunk.totals + at, guess);
        },
        [&](u32 at, u32 count) { add_up<Delta>(chunk, at, count); });
}

// add_up and mark in one pass.
inline void add_up_and_mark(Marks& marks, const Chunk& chunk, float guess) {
    if (chunk.is_bf16) {
        add_up_and_mark<u16>(marks, chunk, guess);
    } else {
        add_up_and_mark<float>(marks, chunk, guess);
    }
}

}  // namespace collab::COLLAB_SET
