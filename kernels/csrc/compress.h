// One chunk compressed by one block of 256 lanes: read once, its residual written once.
//
// A record's place is known beforehand. Its bitmap's length is not, so the bitmap goes to a slot of fixed size and its length to
// an array; a prefix sum over lengths gives the bitmaps' places, to which a second kernel moves them.

#pragma once

#include "block.h"
#include "chunks.h"
#include "fit.h"
#include "select.h"

namespace collab {

constexpr u32 MAX_BITMAP_BITS = 1408;  // of a full chunk with k = 512

struct Source {
    const void* delta;
    const float* residual;  // may be null
    float* out;             // may be `residual`
    u64 is_bf16;            // what delta is, else float32
};

struct CompressArguments {
    Table table;
    const Source* sources;  // one a tensor
    u8* records;
    u8* slots;
    u64 slot_bytes;
    i64* lengths;    // of bitmaps, one a chunk
    u64* nonfinite;  // set to 1 if a total is NaN or infinite; such a chunk is left alone
    float decay;
};

struct CompressShared {
    Chunk chunk;
    Source source;
    Selection selection;
    Levels levels;
    float values[MAX_K];  // kept values and their positions; not if dense
    u16 positions[MAX_K];
    u32 raised[MAX_BITMAP_BITS / 4];  // the bitmap, a byte a bit

    // Of kept values. They lie where the keys were, which nothing needs after the selection.
    COLLAB_HD u8* symbols() { return reinterpret_cast<u8*>(selection.keys); }
    COLLAB_HD const u8* symbols() const { return reinterpret_cast<const u8*>(selection.keys); }
};
static_assert(sizeof(Selection::keys) >= CHUNK, "a dense chunk has a symbol for each element");

// Totals to shared memory, and the cells' maxima.
template <class T>
COLLAB_BODY void load_totals(CompressShared& shared, const T* delta, float decay, u32 cells, u32 lane) {
    const Chunk& chunk = shared.chunk;
    const u32 size = chunk.form.size;
    const float* residual = shared.source.residual;
    Four totals[GROUPS];
    load(delta + chunk.start, size, lane, 0, totals);
    if (residual != nullptr) {
#pragma unroll
        for (u32 half = 0; half < GROUPS; half += GROUPS / 2) {  // by halves, for the sake of registers
            Four before[GROUPS / 2];
            load(residual + chunk.start, size, lane, half, before);
#pragma unroll
            for (u32 item = 0; item < ITEMS / 2; ++item) {
                float& total = totals[half + item / 4].value[item % 4];
                total = add(mul(decay, before[item / 4].value[item % 4]), total);
            }
        }
    }
    u32 maxima[GROUPS];
#pragma unroll
    for (u32 group = 0; group < GROUPS; ++group) {
        *reinterpret_cast<Four*>(&shared.selection.totals[group_at(lane, group)]) = totals[group];
        maxima[group] = 0;
#pragma unroll
        for (u32 i = 0; i < 4; ++i) maxima[group] = larger(maxima[group], key_of(totals[group].value[i]));
    }
    write_maxima(shared.selection, lane, cells, maxima);
}

COLLAB_BODY u32 gap_of(const CompressShared& shared, u32 i) {
    return i == 0 ? shared.positions[0] : shared.positions[i] - shared.positions[i - 1] - 1u;
}

// Divides numbers below 2^16 by the same small one, without dividing.
struct Divider {
    u32 divisor;
    u64 inverse;  // 2^32 over it, rounded up

    COLLAB_HD explicit Divider(u32 by) : divisor(by), inverse(by == 0 ? 0 : 0xFFFFFFFFu / by + u64{1}) {}
    COLLAB_HD u32 quotient(u32 number) const { return static_cast<u32>(number * inverse >> 32); }
    COLLAB_HD u32 rest(u32 number) const { return number - quotient(number) * divisor; }
};

COLLAB_BODY u32 record_bit(const CompressShared& shared, const Divider& remainder, const Divider& code, u32 extra, u32 at) {
    const Form& form = shared.chunk.form;
    if (at < form.hi_at()) return extra >> at & 1u;
    if (at < form.lo_at()) return shared.levels.scale.hi >> (at - form.hi_at()) & 1u;
    if (at < form.remainders_at()) return shared.levels.scale.lo >> (at - form.lo_at()) & 1u;
    if (at < form.signs_at()) {
        const u32 bit = at - form.remainders_at();
        return gap_of(shared, remainder.quotient(bit)) >> remainder.rest(bit) & 1u;
    }
    if (at < form.codes_at()) return shared.symbols()[at - form.signs_at()] >> 7;
    const u32 bit = at - form.codes_at();
    return shared.symbols()[code.quotient(bit)] >> code.rest(bit) & 1u;
}

// Raises the bits of the bitmap; returns their number up to the last that is set.
template <class Block>
COLLAB_BODY u32 raise_bits(Block& block, CompressShared& shared) {
    constexpr u32 EACH = MAX_K / LANES;
    const Form& form = shared.chunk.form;
    const u32 kept = form.kept, remainder = form.remainder;
    block.own([&](u32 lane, Marks& x) {
        x.number = 0;
        for (u32 i = EACH * lane; i < smaller(EACH * (lane + 1), kept); ++i) x.number += gap_of(shared, i) >> remainder;
    });
    const u32 quotients = block.scan([](Marks& x) -> u32& { return x.number; });
    block.each([&](u32 lane, Marks& x) {
        u32 before = x.number;
        for (u32 i = EACH * lane; i < smaller(EACH * (lane + 1), kept); ++i) {
            before += gap_of(shared, i) >> remainder;
            reinterpret_cast<u8*>(shared.raised)[before + i] = 1;
        }
    });
    return quotients + kept;
}

// Symbols of the largest values; what they decode to is subtracted from the totals.
template <class Block>
COLLAB_BODY void encode_sparse(Block& block, CompressShared& shared) {
    const Form& form = shared.chunk.form;
    const u32 high = shared.selection.high, top = exponent_of(high);
    select(block, shared.selection, form.kept);
    block.each([&](u32 lane, Marks& x) {
        for_marked(x, [&](u32 item, u32 number) {
            shared.positions[number] = static_cast<u16>(position_of(lane, item));
            shared.values[number] = shared.selection.totals[position_of(lane, item)];
        });
        for (u32 i = lane; i < MAX_BITMAP_BITS / 4; i += LANES) shared.raised[i] = 0;
    });
    block.one_warp([&](const auto& warp) {
        const Line line = fit(warp, form, shared.values, top, align(high, top));
        if (warp.leads()) shared.levels.scale = scale_of(line, top);
    });
    tabulate_values(block, shared.levels, form.levels());
    tabulate_edges(block, shared.levels, form.levels());
    block.each([&](u32 lane, Marks&) {
        for (u32 i = lane; i < form.kept; i += LANES) {
            const u8 symbol = symbol_of(shared.levels, shared.values[i], form.levels());
            shared.symbols()[i] = symbol;
            shared.selection.totals[shared.positions[i]] = sub(shared.values[i], value_of(shared.levels, symbol));
        }
    });
}

// The same of all values of a dense tensor's chunk.
template <class Block>
COLLAB_BODY void encode_dense(Block& block, CompressShared& shared) {
    const Form& form = shared.chunk.form;
    block.once([&] {
        const u32 high = shared.selection.high, top = exponent_of(high);
        shared.levels.scale = scale_of(first_line(form, 0, align(high, top), 0), top);
    });
    tabulate_values(block, shared.levels, form.levels());
    tabulate_edges(block, shared.levels, form.levels());
    block.each([&](u32 lane, Marks&) {
        for (u32 i = lane; i < form.size; i += LANES) {
            const float total = shared.selection.totals[i];
            const u8 symbol = symbol_of(shared.levels, total, form.levels());
            shared.symbols()[i] = symbol;
            shared.selection.totals[i] = sub(total, value_of(shared.levels, symbol));
        }
    });
}

template <class Block>
COLLAB_BODY void compress_chunk(Block& block, CompressShared& shared, const CompressArguments& arguments, u64 number) {
    block.once([&] {
        shared.chunk = chunk_of(arguments.table, number);
        shared.source = arguments.sources[shared.chunk.tensor];
    });
    const Form& form = shared.chunk.form;
    const u32 cells = form.dense ? LANES : cells_for(form.kept);
    block.each([&](u32 lane, Marks&) {
        const void* delta = shared.source.delta;
        if (shared.source.is_bf16) {
            load_totals(shared, static_cast<const u16*>(delta), arguments.decay, cells, lane);
        } else {
            load_totals(shared, static_cast<const float*>(delta), arguments.decay, cells, lane);
        }
    });
    bound(block, shared.selection, smaller(form.kept, cells), cells);
    if (shared.selection.high >= INFINITY_KEY) {
        block.once([&] {
            *arguments.nonfinite = 1;
            arguments.lengths[number] = 0;
        });
        return;
    }
    if (form.dense) {
        encode_dense(block, shared);
    } else {
        encode_sparse(block, shared);
    }
    block.own([&](u32 lane, Marks&) {
        Four left[GROUPS];
#pragma unroll
        for (u32 group = 0; group < GROUPS; ++group) {
            left[group] = *reinterpret_cast<const Four*>(&shared.selection.totals[group_at(lane, group)]);
        }
        store(shared.source.out + shared.chunk.start, form.size, lane, left);
    });
    u32 length = 0;
    if (form.has_gaps()) {
        const u32 bits = raise_bits(block, shared);
        length = ceil_div(bits, 8);
        const u8* raised = reinterpret_cast<const u8*>(shared.raised);
        block.write(arguments.slots + number * arguments.slot_bytes, bits, [&](u32 at) { return raised[at] != 0; });
    }
    const u32 extra = length - form.least_bitmap();
    u8* record = arguments.records + shared.chunk.record_at;
    const Divider remainder(form.remainder), code(form.bits - 1);
    block.write(record, form.record_bits(), [&](u32 at) { return record_bit(shared, remainder, code, extra, at) != 0; });
    block.once([&] { arguments.lengths[number] = length; });
}

struct PackArguments {
    const u8* slots;
    u64 slot_bytes;
    const i64* ends;  // inclusive prefix sums of lengths
    u8* bitmaps;
};

// Moves a chunk's bitmap from its slot to its place; by a block of 32 lanes.
template <class Block>
COLLAB_BODY void pack_bitmap(Block& block, const PackArguments& arguments, u64 number) {
    const i64 start = number == 0 ? 0 : arguments.ends[number - 1];
    const u32 length = static_cast<u32>(arguments.ends[number] - start);
    block.own([&](u32 lane, auto&) {
        for (u32 i = lane; i < length; i += Block::LANES) {
            arguments.bitmaps[start + i] = arguments.slots[number * arguments.slot_bytes + i];
        }
    });
}

}  // namespace collab
