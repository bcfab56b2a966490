// Which elements of a chunk are kept: exactly the largest, ties to the lower position.
//
// 1. The chunk falls into at least twice as many cells as elements are kept. Where `kept` of the cells' maxima reach a bound, at
//    least that many elements do: a lower bound of the threshold, found on few numbers.
// 2. The elements that reach the bound (a third more than are kept, if their order is random) are gathered, and the threshold is
//    found among them.
// 3. If more elements equal the threshold than are wanted, the first of them are taken.
//
// Thresholds are found by bisecting bits, which ends as soon as exactly `kept` keys reach a guess. Where candidates are too many
// to be gathered (a thousand ties), the block bisects over the whole chunk.

#pragma once

#include "block.h"
#include "chunks.h"

namespace collab {

constexpr u32 MAX_CANDIDATES = 1024;
static_assert(GROUPS * LANES <= MAX_CANDIDATES && 2 * MAX_K <= GROUPS * LANES, "cells fit, and are twice as many as are kept");

constexpr u32 COARSE = 16;  // bits of a key that the lower bound leaves out

struct Threshold {
    u32 key;
    u32 reached_by;  // how many keys
};

struct Selection {
    alignas(16) float totals[CHUNK];
    u32 keys[MAX_CANDIDATES];  // of cells' maxima, then of candidates
    u32 low, high;             // a lower bound of the threshold, and the largest key
    Threshold threshold;
};

// A lane's marked elements, as a mask, and where their numbers begin. Numbers go in order of position: the first of group g has
// the number in bits 16g on of `ranks`.
struct Marks {
    u32 marks;
    u64 ranks;
    u32 number;  // for other scans
};

// A key that at least `kept` keys reach: exactly `kept`, or else as few as can be if bits are bisected down to 0.
// All `total` >= `kept` keys lie between `low` and `high`; reached_by(guess) counts those of at least `guess`.
template <class Count>
COLLAB_BODY Threshold bisect(u32 low, u32 high, u32 last_bit, u32 kept, u32 total, Count reached_by) {
    if (total == kept || low == high) return {low, total};
    const u32 top = floor_log2(low ^ high);
    Threshold best{low >> (top + 1) << (top + 1), total};
    for (u32 bit = top + 1; bit-- > last_bit;) {
        const u32 guess = best.key | 1u << bit;
        const u32 count = reached_by(guess);
        if (count >= kept) best = {guess, count};
        if (count == kept) break;
    }
    return best;
}

// The same for keys in shared memory, by one warp; so few that they fit are read once.
template <class Warp>
COLLAB_BODY Threshold bisect(const Warp& warp, const u32* keys, u32 low, u32 high, u32 last_bit, u32 kept, u32 total) {
    constexpr u32 EACH = 8;
    if (total <= 32 * EACH) {
        u32 own[EACH];  // no guess is as low as the zeros that fill it up
#pragma unroll
        for (u32 i = 0; i < EACH; ++i) own[i] = warp.lane() + 32 * i < total ? keys[warp.lane() + 32 * i] : 0;
        return bisect(low, high, last_bit, kept, total, [&](u32 guess) {
            return warp.sum([&](u32) {
                u32 count = 0;
#pragma unroll
                for (u32 i = 0; i < EACH; ++i) count += own[i] >= guess ? 1 : 0;
                return count;
            });
        });
    }
    return bisect(low, high, last_bit, kept, total, [&](u32 guess) {
        return warp.sum([&](u32 lane) {
            u32 count = 0;
            for (u32 i = lane; i < total; i += 32) count += keys[i] >= guess ? 1 : 0;
            return count;
        });
    });
}

// ---- marks

COLLAB_BODY u32 key_at(const Selection& selection, u32 lane, u32 item) {
    return key_of(selection.totals[position_of(lane, item)]);
}

// A mask of the lane's elements whose key passes a test.
template <class Test>
COLLAB_BODY u32 mark(const Selection& selection, u32 lane, Test test) {
    u32 marks = 0;
#pragma unroll
    for (u32 group = 0; group < GROUPS; ++group) {
        const Four four = *reinterpret_cast<const Four*>(&selection.totals[group_at(lane, group)]);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) marks |= (test(key_of(four.value[i])) ? 1u : 0u) << (4 * group + i);
    }
    return marks;
}

// Numbers the marked elements and returns how many there are.
template <class Block>
COLLAB_BODY u32 rank(Block& block) {
    block.own([](u32, Marks& x) {
        x.ranks = 0;
#pragma unroll
        for (u32 group = 0; group < GROUPS; ++group) {
            x.ranks |= static_cast<u64>(ones(x.marks >> (4 * group) & 15u)) << (16 * group);
        }
    });
    const u64 totals = block.scan([](Marks& x) -> u64& { return x.ranks; });
    const u64 earlier_groups = (totals << 16) + (totals << 32) + (totals << 48);
    block.own([&](u32, Marks& x) { x.ranks += earlier_groups; });
    return static_cast<u32>((totals + earlier_groups) >> 48);
}

// f(item, number) for each marked element of a lane.
template <class Visit>
COLLAB_BODY void for_marked(const Marks& x, Visit visit) {
    for (u32 left = x.marks; left != 0; left &= left - 1) {
        const u32 item = lowest(left), group = item / 4;
        const u32 in_group = ones(x.marks >> (4 * group) & ((1u << item % 4) - 1));
        visit(item, (static_cast<u32>(x.ranks >> (16 * group)) & 0xFFFFu) + in_group);
    }
}

// ---- the three steps

// A cell is a lane's 16, 8 or 4 elements.
COLLAB_HD u32 cells_for(u32 kept) { return kept <= LANES / 2 ? LANES : kept <= LANES ? 2 * LANES : GROUPS * LANES; }

COLLAB_BODY void write_maxima(Selection& selection, u32 lane, u32 cells, const u32 (&of_group)[GROUPS]) {
    static_assert(GROUPS == 4, "");
    const u32 first = larger(of_group[0], of_group[1]), second = larger(of_group[2], of_group[3]);
    if (cells == LANES) {
        selection.keys[lane] = larger(first, second);
    } else if (cells == 2 * LANES) {
        selection.keys[lane] = first;
        selection.keys[lane + LANES] = second;
    } else {
#pragma unroll
        for (u32 group = 0; group < GROUPS; ++group) selection.keys[lane + group * LANES] = of_group[group];
    }
}

// Finds `low` and `high`, after a barrier. `low` is at least 1.
template <class Block>
COLLAB_BODY void bound(Block& block, Selection& selection, u32 kept, u32 cells) {
    block.one_warp([&](const auto& warp) {
        const u32 least = warp.least([&](u32 lane) {
            u32 best = selection.keys[lane];
            for (u32 i = lane + 32; i < cells; i += 32) best = smaller(best, selection.keys[i]);
            return best;
        });
        const u32 high = warp.largest([&](u32 lane) {
            u32 best = selection.keys[lane];
            for (u32 i = lane + 32; i < cells; i += 32) best = larger(best, selection.keys[i]);
            return best;
        });
        const Threshold found = bisect(warp, selection.keys, least, high, COARSE, kept, cells);
        if (warp.leads()) {
            selection.low = larger(larger(found.key, least), 1);
            selection.high = high;
        }
    });
}

// The threshold, of `candidates` elements that are marked and numbered because they reach `low`.
template <class Block>
COLLAB_BODY Threshold threshold_among(Block& block, Selection& selection, u32 kept, u32 candidates) {
    const u32 low = selection.low, high = selection.high;
    if (candidates < kept) return {0, CHUNK};  // everything but zeros, and some zeros
    if (candidates > MAX_CANDIDATES) {
        return bisect(low, high, 0, kept, candidates, [&](u32 guess) {
            block.own([&](u32 lane, Marks& x) { x.number = ones(mark(selection, lane, [&](u32 key) { return key >= guess; })); });
            return block.scan([](Marks& x) -> u32& { return x.number; });
        });
    }
    block.each([&](u32 lane, Marks& x) {
        for_marked(x, [&](u32 item, u32 number) { selection.keys[number] = key_at(selection, lane, item); });
    });
    block.one_warp([&](const auto& warp) {
        const Threshold found = bisect(warp, selection.keys, low, high, 0, kept, candidates);
        if (warp.leads()) selection.threshold = found;
    });
    return selection.threshold;
}

// Marks and numbers the `kept` elements.
template <class Block>
COLLAB_BODY void select(Block& block, Selection& selection, u32 kept) {
    block.own([&](u32 lane, Marks& x) { x.marks = mark(selection, lane, [&](u32 key) { return key >= selection.low; }); });
    const Threshold threshold = threshold_among(block, selection, kept, rank(block));
    u32 ties = 0;
    if (threshold.reached_by > kept) {
        block.own([&](u32 lane, Marks& x) { x.marks = mark(selection, lane, [&](u32 key) { return key == threshold.key; }); });
        ties = rank(block);
    }
    const u32 ties_wanted = kept + ties - threshold.reached_by;
    const bool among_marked = ties == 0;  // those that reach the bound, which the threshold is not below
    block.own([&](u32 lane, Marks& x) {
        u32 marks = among_marked ? x.marks : mark(selection, lane, [&](u32 key) { return key >= threshold.key; });
        for_marked(x, [&](u32 item, u32 number) {
            const bool out = among_marked ? key_at(selection, lane, item) < threshold.key : number >= ties_wanted;
            if (out) marks &= ~(1u << item);
        });
        x.marks = marks;
    });
    rank(block);
}

}  // namespace collab
