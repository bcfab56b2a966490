// A chunk's levels: fitted to its kept values by one warp, then tabulated.

#pragma once

#include "block.h"

namespace collab {

constexpr u32 MAX_LEVELS = 1u << (MAX_VALUE_BITS - 1);
constexpr u32 NEVER = 0xFFFFFFFFu;  // above every key

struct Levels {
    Scale scale;
    float value[MAX_LEVELS];
    u32 edge[MAX_LEVELS];  // keys
};

// The line through the levels that fits `form.kept` magnitudes best; `top` and `largest` are those of the largest.
template <class Warp>
COLLAB_BODY Line fit(const Warp& warp, const Form& form, const float* values, u32 top, u32 largest) {
    const auto magnitude = [&](u32 i) { return align(key_of(values[i]), top); };
    const u32 least = warp.least([&](u32 lane) {
        u32 best = largest;
        for (u32 i = lane; i < form.kept; i += 32) best = smaller(best, magnitude(i));
        return best;
    });
    const Halves halves = warp.sum([&](u32 lane) {
        Halves all{0, 0};
        for (u32 i = lane; i < form.kept; i += 32) all.add(magnitude(i), 1);
        return all;
    });
    const u64 sum = halves.whole();
    const u32 levels = form.levels();
    Line line = first_line(form, least, largest, sum);
    if (levels == 1) return line;
    for (u32 step = 0; step < FIT_STEPS; ++step) {
        const Tally sums = warp.sum([&](u32 lane) {
            Tally all{0, 0, {0, 0}};
            for (u32 i = lane; i < form.kept; i += 32) {
                const u32 m = magnitude(i), code = fit_code(m, line, levels);
                all.codes += code;
                all.squares += code * code;
                all.products.add(m, code);
            }
            return all;
        });
        const Ends ends = ends_of(form, {sum, sums.codes, sums.squares, sums.products.whole()});
        if (ends.determinant <= 0) break;  // the next step would find the same
        const Both line_ends = warp.both([&](u32 which) { return (which == 0 ? ends.bottom : ends.top) / ends.determinant; });
        line = line_between(line_ends.first, line_ends.second);
    }
    return line;
}

// Fill the tables of `count` levels from the scale.
template <class Block>
COLLAB_BODY void tabulate_values(Block& block, Levels& levels, u32 count) {
    block.each([&](u32 lane, auto&) {
        for (u32 code = lane; code < count; code += Block::LANES) levels.value[code] = level_value(levels.scale, code, count);
    });
}

template <class Block>
COLLAB_BODY void tabulate_edges(Block& block, Levels& levels, u32 count) {
    block.each([&](u32 lane, auto&) {
        for (u32 code = lane; code + 1 < count; code += Block::LANES)
            levels.edge[code] = levels.scale.hi == 0 ? NEVER : edge_key(levels.scale, code, count);
    });
}

// The nearest level's code, and bit 7 if the value is below zero and its level is not zero.
COLLAB_BODY u8 symbol_of(const Levels& levels, float value, u32 count) {
    u32 code = 0;
    for (u32 step = count / 2; step > 0; step /= 2)
        if (key_of(value) > levels.edge[code + step - 1]) code += step;
    const bool negative = value < 0.0f && levels.value[code] > 0.0f;
    return static_cast<u8>(code | (negative ? 0x80u : 0u));
}

COLLAB_BODY float value_of(const Levels& levels, u8 symbol) {
    const float level = levels.value[symbol & 0x7F];
    return symbol & 0x80 ? -level : level;
}

}  // namespace collab
