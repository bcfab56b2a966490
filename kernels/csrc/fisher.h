// Fisher diagonals on a device: their accumulation, and the merge of kernels/merge/fisher.py, operation by operation.

#pragma once

#include "block.h"
#include "chunks.h"
#include "decode.h"

namespace collab {

COLLAB_BODY float lesser(float a, float b) { return b < a ? b : a; }

// ---- F += g², a product and then a sum

struct Square {
    float* diagonal;
    const void* gradient;
    u64 is_bf16;
};

struct SquareArguments {
    Table table;
    const Square* squares;  // one a tensor
};

template <class T>
COLLAB_BODY void add_squares(float* diagonal, const T* gradient, u32 size, u32 lane) {
    Four sums[GROUPS], values[GROUPS];
    load(diagonal, size, lane, 0, sums);
    load(gradient, size, lane, 0, values);
#pragma unroll
    for (u32 item = 0; item < ITEMS; ++item) {
        const float value = values[item / 4].value[item % 4];
        float& sum = sums[item / 4].value[item % 4];
        sum = add(sum, mul(value, value));
    }
    store(diagonal, size, lane, sums);
}

template <class Block>
COLLAB_BODY void square_chunk(Block& block, const SquareArguments& arguments, u64 number) {
    const Chunk chunk = chunk_of(arguments.table, number);
    const Square square = arguments.squares[chunk.tensor];
    float* diagonal = square.diagonal + chunk.start;
    block.own([&](u32 lane, auto&) {
        if (square.is_bf16) {
            add_squares(diagonal, static_cast<const u16*>(square.gradient) + chunk.start, chunk.form.size, lane);
        } else {
            add_squares(diagonal, static_cast<const float*>(square.gradient) + chunk.start, chunk.form.size, lane);
        }
    });
}

// ---- the merge

struct MergeArguments {
    const Part* parts;
    u64 count;
    float* const* weights;  // Σ wᵢ, one a tensor; zeros at first
    float* const* fishers;  // Σ wᵢfᵢ; zeros at first
    float* const* tempers;  // t; ones at first
    float* const* merged;   // zeros at first
    float damping;
    float limit;
};

// fᵢ: a Fisher value over the mean of its contributor's, clamped, damped.
COLLAB_BODY float relative_fisher(const Part& part, u64 entry, float damping) {
    const double mean = __longlong_as_double(static_cast<i64>(part.mean));
    if (part.fisher == nullptr || mean == 0.0) return add(1.0f, damping);
    const double ratio = static_cast<double>(part.fisher[entry]) / mean;
    const double clamped = ratio < 1.0 / 16 ? 1.0 / 16 : ratio > 16.0 ? 16.0 : ratio;
    return add(static_cast<float>(clamped), damping);
}

// One coordinate's running values, and what one contributor says about it.
struct Coordinate {
    float *weights, *fishers, *tempers, *merged;
    float weight, fisher, limit;

    // qᵢ − wᵢ
    COLLAB_BODY float gain() const { return sub(mul(__fdiv_rn(mul(weight, fisher), *fishers), *weights), weight); }

    COLLAB_BODY void add_up() const {
        *weights = add(*weights, weight);
        *fishers = add(*fishers, mul(weight, fisher));
    }

    COLLAB_BODY void temper() const {
        const float more = gain();
        if (more > 0.0f) *tempers = lesser(*tempers, __fdiv_rn(sub(limit, weight), more));
    }

    COLLAB_BODY void step(float clip, float value) const {
        const float share = lesser(add(weight, mul(*tempers, gain())), limit);
        *merged = add(*merged, mul(mul(share, clip), value));
    }
};

// Three passes over the contributions: sums, t, result.
template <class Block>
COLLAB_BODY void merge_chunk(Block& block, DecodeShared& shared, const MergeArguments& arguments, u64 number) {
    for (u32 pass = 0; pass < 3; ++pass) {
        for (u64 i = 0; i < arguments.count; ++i) {
            const Part part = arguments.parts[i];
            const Chunk chunk = chunk_of(part.table, number);
            const float weight = float_of(static_cast<u32>(part.weight)), clip = float_of(static_cast<u32>(part.clip));
            decode_chunk(block, shared, part, chunk, number, [&](const Entry& entry) {
                const u64 tensor = chunk.tensor, at = chunk.start + entry.position;
                const float fisher = relative_fisher(part, chunk.entry_at + entry.number, arguments.damping);
                const Coordinate coordinate{
                    in_memory(arguments.weights[tensor]) + at, in_memory(arguments.fishers[tensor]) + at,
                    in_memory(arguments.tempers[tensor]) + at, in_memory(arguments.merged[tensor]) + at,
                    weight, fisher, arguments.limit};
                if (pass == 0) coordinate.add_up();
                if (pass == 1) coordinate.temper();
                if (pass == 2) coordinate.step(clip, value_of(shared, entry));
            });
        }
    }
}

}  // namespace collab
