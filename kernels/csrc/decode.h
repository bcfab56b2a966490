// Payloads decoded chunk by chunk, each by a block of 32 lanes (one warp), into whatever is made of their entries.
//
// Lengths, checksums and densities have been checked by the host. `check_chunk` checks all that is left; nothing else may run on
// a payload that it refused.

#pragma once

#include "block.h"
#include "chunks.h"
#include "fit.h"

namespace collab {

// A payload. Only 64-bit fields, see chunks.h.
struct Part {
    Table table;
    const u8* records;
    const u8* bitmaps;
    const i64* ends;  // of chunks' bitmaps, from `bitmaps` on
    u64 bitmap_bytes;
    u64 weight;             // the bits of a float32
    u64 clip;               // the same; only for merges
    const float* fisher;    // a value for each entry, or null; only for merges
    u64 mean;               // of `fisher`: the bits of a float64
};

// What is wrong with a payload; zero if nothing is.
enum Fault : u64 {
    NONE,
    LONG_BITMAP,
    BITMAP_BYTES,
    LAST_BYTE,
    COUNT,
    BEYOND_END,
    SCALE,
    ZERO_CHUNK,
    SIGNED_ZERO,
    FILLING,
};

struct Number {
    u32 number;  // for scans
};

struct DecodeShared {
    Levels levels;
    u16 places[MAX_K];  // of set bits in the bitmap
};

// Up to 8 bits of a record. They lie in one byte or in two; what is beyond them is never read.
COLLAB_HD u32 bits_at(const u8* record, u32 at, u32 count) {
    if (count == 0) return 0;
    const u32 window = record[at / 8] | static_cast<u32>(record[(at + count - 1) / 8]) << 8;
    return window >> (at & 7) & ((1u << count) - 1);
}

// The run of `count` things that falls to a lane when a block shares them out in order.
struct Run {
    u32 begin, end;
};

COLLAB_HD Run run_of(u32 lane, u32 lanes, u32 count) {
    const u32 each = ceil_div(count, lanes);
    return {smaller(lane * each, count), smaller((lane + 1) * each, count)};
}

struct Entry {
    u32 number;    // in its chunk
    u32 position;  // in its chunk
    u32 code;
    u32 negative;
};

COLLAB_HD Entry entry_at(const Form& form, const u8* record, u32 number, u32 position) {
    const u32 width = form.bits - 1;
    const u32 code = bits_at(record, form.codes_at() + number * width, width);
    return {number, position, code, bits_at(record, form.signs_at() + number, 1)};
}

COLLAB_BODY float value_of(const DecodeShared& shared, const Entry& entry) {
    const float level = shared.levels.value[entry.code];
    return entry.negative ? -level : level;
}

// Leaves the places of a bitmap's first `kept` set bits in shared memory; returns how many bits are set.
template <class Block>
COLLAB_BODY u32 find_places(Block& block, DecodeShared& shared, const u8* bitmap, u32 length, u32 kept) {
    block.own([&](u32 lane, auto& x) {
        const Run run = run_of(lane, Block::LANES, length);
        x.number = 0;
        for (u32 byte = run.begin; byte < run.end; ++byte) x.number += ones(bitmap[byte]);
    });
    const u32 all = block.scan([](auto& x) -> u32& { return x.number; });
    block.each([&](u32 lane, auto& x) {
        const Run run = run_of(lane, Block::LANES, length);
        u32 number = x.number;
        for (u32 byte = run.begin; byte < run.end; ++byte)
            for (u32 left = bitmap[byte]; left != 0 && number < kept; left &= left - 1)
                shared.places[number++] = static_cast<u16>(8 * byte + lowest(left));
    });
    return all;
}

// Calls visit(entry) for all of a chunk's entries, each by one lane, then a barrier. Positions in a chunk are distinct.
// False, and no call, if the bitmap has too few or too many bits.
template <class Block, class Visit>
COLLAB_BODY bool decode_chunk(Block& block, DecodeShared& shared, const Part& part, const Chunk& chunk, u64 number, Visit visit) {
    const Form& form = chunk.form;
    const u8* record = in_memory(part.records) + chunk.record_at;
    block.once([&] {
        shared.levels.scale.hi = bits_at(record, form.hi_at(), 8) | bits_at(record, form.hi_at() + 8, 8) << 8;
        shared.levels.scale.lo = form.bits > 1 ? bits_at(record, form.lo_at(), 8) : 0;
    });
    tabulate_values(block, shared.levels, form.levels());
    if (!form.has_gaps()) {
        block.each([&](u32 lane, auto&) {
            for (u32 i = lane; i < form.kept; i += Block::LANES) visit(entry_at(form, record, i, i));
        });
        return true;
    }
    const i64 start = number == 0 ? 0 : part.ends[number - 1];
    const u32 length = static_cast<u32>(part.ends[number] - start);
    if (find_places(block, shared, in_memory(part.bitmaps) + start, length, form.kept) != form.kept) return false;
    const auto remainder = [&](u32 i) { return bits_at(record, form.remainders_at() + i * form.remainder, form.remainder); };
    block.own([&](u32 lane, auto& x) {
        const Run run = run_of(lane, Block::LANES, form.kept);
        x.number = 0;
        for (u32 i = run.begin; i < run.end; ++i) x.number += remainder(i);
    });
    block.scan([](auto& x) -> u32& { return x.number; });
    block.each([&](u32 lane, auto& x) {
        const Run run = run_of(lane, Block::LANES, form.kept);
        u32 remainders = x.number;
        for (u32 i = run.begin; i < run.end; ++i) {
            remainders += remainder(i);
            visit(entry_at(form, record, i, ((shared.places[i] - i) << form.remainder) + remainders + i));
        }
    });
    return true;
}

// ---- the kernels

struct LengthArguments {
    Table table;
    const u8* records;
    i64* lengths;
    u64* fault;
};

// The length of one chunk's bitmap.
COLLAB_HD void read_length(const LengthArguments& arguments, u64 number) {
    const Chunk chunk = chunk_of(arguments.table, number);
    u32 length = 0;
    if (chunk.form.has_gaps()) length = chunk.form.least_bitmap() + arguments.records[chunk.record_at];
    if (length > chunk.form.most_bitmap()) *arguments.fault = LONG_BITMAP;
    arguments.lengths[number] = length;
}

struct CheckArguments {
    Part part;
    u64* fault;
};

template <class Block>
COLLAB_BODY void check_chunk(Block& block, DecodeShared& shared, const CheckArguments& arguments, u64 number) {
    const Part& part = arguments.part;
    const Chunk chunk = chunk_of(part.table, number);
    const Form& form = chunk.form;
    const i64 end = part.ends[number];
    const bool last = number + 1 == part.table.chunks;
    if (end > static_cast<i64>(part.bitmap_bytes) || (last && end != static_cast<i64>(part.bitmap_bytes))) {
        block.once([&] { *arguments.fault = BITMAP_BYTES; });
        return;
    }
    u64 fault = NONE;  // differs from lane to lane
    const u8* record = part.records + chunk.record_at;
    const u32 used = form.record_bits(), all = 8 * form.record_bytes();
    if (form.has_gaps() && part.bitmaps[end - 1] == 0) fault = LAST_BYTE;
    if (bits_at(record, used, all - used) != 0) fault = FILLING;
    const bool counted = decode_chunk(block, shared, part, chunk, number, [&](const Entry& entry) {
        const Scale& scale = shared.levels.scale;
        if (scale.hi == 0 && entry.code != 0) fault = ZERO_CHUNK;
        if (entry.negative && level_is_zero(scale, entry.code, form.levels())) fault = SIGNED_ZERO;
        if (entry.position >= form.size) fault = BEYOND_END;
    });
    const Scale& scale = shared.levels.scale;
    if (!counted) fault = COUNT;
    if (scale.hi == 0 && scale.lo != 0) fault = ZERO_CHUNK;
    if (!hi_valid(scale.hi)) fault = SCALE;
    if (fault != NONE) *arguments.fault = fault;
}

struct AccumulateArguments {
    const Part* parts;
    u64 count;
    float* const* into;  // one a tensor
};

// into += weight · value for each part in order, a product and then a sum.
template <class Block>
COLLAB_BODY void accumulate_chunk(Block& block, DecodeShared& shared, const AccumulateArguments& arguments, u64 number) {
    for (u64 i = 0; i < arguments.count; ++i) {
        const Part part = arguments.parts[i];
        const Chunk chunk = chunk_of(part.table, number);
        float* into = in_memory(arguments.into[chunk.tensor]) + chunk.start;
        const float weight = float_of(static_cast<u32>(part.weight));
        decode_chunk(block, shared, part, chunk, number, [&](const Entry& entry) {
            into[entry.position] = add(into[entry.position], mul(weight, value_of(shared, entry)));
        });
    }
}

struct EntriesArguments {
    Part part;
    i64* index;
    float* values;
};

// Positions in their tensor, and values, of all entries.
template <class Block>
COLLAB_BODY void list_chunk(Block& block, DecodeShared& shared, const EntriesArguments& arguments, u64 number) {
    const Chunk chunk = chunk_of(arguments.part.table, number);
    decode_chunk(block, shared, arguments.part, chunk, number, [&](const Entry& entry) {
        arguments.index[chunk.entry_at + entry.number] = static_cast<i64>(chunk.start + entry.position);
        arguments.values[chunk.entry_at + entry.number] = value_of(shared, entry);
    });
}

}  // namespace collab
