// Chunks compressed: totals and marks in one pass over memory, the rest in the cache while memory brings the next chunk.

#pragma once

#include "cpu_bits.h"
#include "cpu_half.h"
#include "cpu_operations.h"
#include "cpu_quantize.h"
#include "cpu_select.h"

namespace collab::COLLAB_SET {

// Whether a float is below zero, which -0 is not.
inline bool is_negative(float value) { return bits_of(value) > 0x80000000u; }

struct Scratch {
    Selection selection;
    Quantized quantized;
    u32 keys[CHUNK];
    u8 fields[CHUNK + SLACK];
    u8 remainders[MAX_K + SLACK];
    u16 gaps[MAX_K];
    u64 bitmap[MAX_BITMAP / 8 + 1];
    u8 record[MAX_RECORD + SLACK];
};

// Writes the bitmap and collects remainders. Returns the bitmap's bytes.
inline u32 write_gaps(Scratch& s, const Form form, const u16* positions, u8* bitmap) {
    const u32 mask = (1u << form.remainder) - 1;
    s.gaps[0] = positions[0];
    for (u32 i = 1; i < form.kept; ++i) s.gaps[i] = static_cast<u16>(positions[i] - positions[i - 1] - 1);
    for (u32 i = 0; i < form.kept; ++i) s.remainders[i] = static_cast<u8>(s.gaps[i] & mask);
    u64 word = 0;
    u32 place = 0, words = 0;  // the next bit in `word`, the words before it
    for (u32 i = 0; i < form.kept; ++i) {
        for (place += s.gaps[i] >> form.remainder; place >= WORD; place -= WORD, word = 0) s.bitmap[words++] = word;
        word |= 1ull << place++;
    }
    s.bitmap[words] = word;
    const u32 bytes = ceil_div(words * WORD + place, 8);
    __builtin_memcpy(bitmap, s.bitmap, bytes);
    return bytes;
}

// Writes a record and, if anything is left out, a bitmap; `totals` are the kept ones. Returns the bitmap's bytes.
inline u32 write_chunk(Scratch& s, const Form form, const u16* positions, const float* totals, u8* record, u8* bitmap,
                       Following& following) {
    const Quantized& q = s.quantized;
    BitWriter writer(s.record);
    u32 bitmap_bytes = 0;
    if (form.has_gaps()) {
        bitmap_bytes = write_gaps(s, form, positions, bitmap);
        writer.put(bitmap_bytes - form.least_bitmap(), 8);
    }
    following.ask(3);
    writer.put(q.scale.hi, 16);
    if (form.bits > 1) writer.put(q.scale.lo, 8);
    if (form.has_gaps()) writer.put_fields(s.remainders, form.kept, form.remainder);
    following.ask(3);
    const u32 least_signed = level_is_zero(q.scale, 0, form.levels()) ? 1 : 0;
    for (u32 i = 0; i < form.kept; ++i) s.fields[i] = is_negative(totals[i]) && q.codes[i] >= least_signed ? 1 : 0;
    writer.put_fields(s.fields, form.kept, 1);
    following.ask(3);
    for (u32 i = 0; i < form.kept; ++i) s.fields[i] = static_cast<u8>(q.codes[i]);
    writer.put_fields(s.fields, form.kept, form.bits - 1);
    __builtin_memcpy(record, s.record, form.record_bytes());
    return bitmap_bytes;
}

inline float remaining(const Quantized& q, float total, u32 code) {
    const u32 sign = static_cast<u32>(is_negative(total)) << 31;
    return sub(total, float_of(bits_of(q.values[code]) | sign));  // no branch, which could not be predicted
}

// A chunk of which every value is kept. Returns whether all are finite.
inline bool compress_whole(Scratch& s, const Form form, const Chunk& chunk, u8* record) {
    add_up(chunk);
    float* totals = chunk.totals;
    u32 largest = 0;
    for (u32 i = 0; i < form.size; ++i) {
        s.keys[i] = key_of(totals[i]);
        largest = larger(largest, s.keys[i]);
    }
    if (largest >= INFINITY_KEY) return false;
    Following next = following(chunk);
    quantize(s.quantized, form, s.keys, next);
    write_chunk(s, form, nullptr, totals, record, nullptr, next);
    for (u32 i = 0; i < form.size; ++i) totals[i] = remaining(s.quantized, totals[i], s.quantized.codes[i]);
    return true;
}

inline u64 compress(const CompressJob& job, u64 begin, u64 end, u8* bitmaps) {
    Scratch s;
    u8* bitmap = bitmaps;
    for (Walk walk(job.shape, job.densities, job.value_bits, begin); walk.number < end; walk.next()) {
        const Form form = walk.form;
        const Chunk chunk = chunk_of(job.sources[walk.tensor], job.decay, walk.start, form.size);
        u8* record = job.records + walk.place.record;
        if (!form.has_gaps()) {
            if (!compress_whole(s, form, chunk, record)) return NOT_FINITE;
            continue;
        }
        Selection& chosen = s.selection;
        Following next = following(chunk);
        if (!select(chosen, chunk, form.kept, next)) return NOT_FINITE;
        for (u32 i = 0; i < form.kept; ++i) s.keys[i] = key_of(chosen.totals[i]);
        quantize(s.quantized, form, s.keys, next);
        bitmap += write_chunk(s, form, chosen.positions, chosen.totals, record, bitmap, next);
        for (u32 i = 0; i < form.kept; ++i) {
            if (i % 2 == 0) next.ask(1);
            chunk.totals[chosen.positions[i]] = remaining(s.quantized, chosen.totals[i], s.quantized.codes[i]);
        }
    }
    return static_cast<u64>(bitmap - bitmaps);
}

inline bool compress_halves(const Source& source, float decay, u64 count, u8* halves) {
    u32 largest = 0;
    for (u64 start = 0; start < count; start += CHUNK) {
        const u32 size = count - start < CHUNK ? static_cast<u32>(count - start) : CHUNK;
        const Chunk chunk = chunk_of(source, decay, start, size);
        add_up(chunk);
        float* totals = chunk.totals;
        for (u32 i = 0; i < size; ++i) {
            largest = larger(largest, key_of(totals[i]));
            const u16 half = static_cast<u16>(half_of_float(totals[i]));
            totals[i] = sub(totals[i], float_of_half(half));
            __builtin_memcpy(halves + 2 * (start + i), &half, 2);
        }
        if (largest >= INFINITY_KEY) return false;
    }
    return true;
}

}  // namespace collab::COLLAB_SET
