// Levels of a chunk's kept values, and their codes (steps 3 to 7 of the specification's encoder).

#pragma once

#include "cpu_following.h"
#include "format.h"

namespace collab::COLLAB_SET {

constexpr u32 MAX_LEVELS = 1u << (MAX_VALUE_BITS - 1);

// codes[i] = how many of the ascending edges keys[i] exceeds, of `levels` - 1 (a power of two less one).
inline void count_edges(const u32* keys, u32 count, const u32* edges, u32 levels, u32* codes) {
    if (levels == 1) {
        for (u32 i = 0; i < count; ++i) codes[i] = 0;
        return;
    }
    u32 step = levels / 2;
    const u32 middle = edges[step - 1];
    for (u32 i = 0; i < count; ++i) codes[i] = keys[i] > middle ? step : 0;
    for (step /= 2; step > 0; step /= 2)
        for (u32 i = 0; i < count; ++i) codes[i] += keys[i] > edges[codes[i] + step - 1] ? step : 0;
}

inline void fit_edges(const Line& line, u32 levels, u32* edges) {
    for (u32 j = 0; j + 1 < levels; ++j)
        edges[j] = line.lo + static_cast<u32>(static_cast<u64>(line.hi - line.lo) * (2 * j + 1) / (2 * levels - 2));
}

inline Sums sums_of(const u32* magnitudes, const u32* codes, u32 count) {
    Sums sums{0, 0, 0, 0};
    for (u32 i = 0; i < count; ++i) {
        const u64 m = magnitudes[i];
        sums.m += m;
        sums.c += codes[i];
        sums.cc += codes[i] * codes[i];
        sums.cm += codes[i] * m;
    }
    return sums;
}

struct Quantized {
    Scale scale;
    float values[MAX_LEVELS];
    u32 magnitudes[CHUNK];
    u32 codes[CHUNK];
};

// Of `form.kept` finite values, given as float bits without their signs.
inline void quantize(Quantized& q, const Form form, const u32* keys, Following& following) {
    u32 least = INFINITY_KEY, largest = 0;
    for (u32 i = 0; i < form.kept; ++i) {
        least = smaller(least, keys[i]);
        largest = larger(largest, keys[i]);
    }
    following.ask(3);
    const u32 top = exponent_of(largest), levels = form.levels();
    u64 sum = 0;
    for (u32 i = 0; i < form.kept; ++i) {
        q.magnitudes[i] = align(keys[i], top);
        sum += q.magnitudes[i];
    }
    following.ask(3);
    Line line = first_line(form, align(least, top), align(largest, top), sum);
    u32 edges[MAX_LEVELS];
    for (u32 step = 0; step < FIT_STEPS && levels > 1 && !form.dense; ++step) {
        fit_edges(line, levels, edges);
        count_edges(q.magnitudes, form.kept, edges, levels, q.codes);
        following.ask(3);
        line = least_squares(form, line, sums_of(q.magnitudes, q.codes, form.kept));
    }
    following.ask(3);
    q.scale = scale_of(line, top);
    for (u32 code = 0; code + 1 < levels; ++code) edges[code] = edge_key(q.scale, code, levels);
    for (u32 code = 0; code < levels; ++code) q.values[code] = level_value(q.scale, code, levels);
    following.ask(3);
    count_edges(keys, form.kept, edges, levels, q.codes);
    if (q.scale.hi == 0)
        for (u32 i = 0; i < form.kept; ++i) q.codes[i] = 0;
}

}  // namespace collab::COLLAB_SET
