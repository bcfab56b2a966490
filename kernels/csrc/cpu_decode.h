// Payloads checked, and decoded chunk by chunk.

#pragma once

#include "cpu_bits.h"
#include "cpu_half.h"
#include "cpu_operations.h"

namespace collab::COLLAB_SET {

constexpr u32 MAX_RECORD = CHUNK + 8;                                    // dense: a byte a value, hi, lo
constexpr u32 MAX_BITMAP = (MAX_K + (CHUNK - MAX_K) / 4) / 8 + 1;
constexpr u32 OVERREAD = 16;

// A chunk's parts, copied to where words may be read beyond them.
struct Parts {
    u8 record[MAX_RECORD + OVERREAD];
    u64 bitmap[MAX_BITMAP / 8 + 1];
    u32 bitmap_bytes;

    void load(const Form& form, const u8* from, const u8* bitmaps) {
        __builtin_memcpy(record, from, form.record_bytes());
        bitmap_bytes = form.has_gaps() ? form.least_bitmap() + record[0] : 0;
        if (bitmap_bytes == 0) return;
        bitmap[(bitmap_bytes - 1) / 8] = 0;
        __builtin_memcpy(bitmap, bitmaps, bitmap_bytes);
    }

    u32 bitmap_words() const { return (bitmap_bytes + 7) / 8; }

    Scale scale(const Form& form) const {
        const u8* at = record + form.hi_at() / 8;
        return {at[0] | static_cast<u32>(at[1]) << 8, form.bits > 1 ? at[2] : 0u};
    }
};

struct Fields {
    u8 remainders[CHUNK / 8 + 16];
    u8 signs[CHUNK + 8];
    u8 codes[CHUNK + 8];

    void read_values(const Form& form, const Parts& parts) {
        get_fields(parts.record, form.signs_at(), form.kept, 1, signs);
        get_fields(parts.record, form.codes_at(), form.kept, form.bits - 1, codes);
    }

    void read_remainders(const Form& form, const Parts& parts) {
        get_fields(parts.record, form.remainders_at(), form.kept, form.remainder, remainders);
    }
};

// ---- checks

inline bool any(const u8* record, u32 begin, u32 end) {
    u32 found = 0;
    for (; begin < end && begin % 8 != 0; ++begin) found |= record[begin / 8] >> (begin % 8) & 1u;
    for (; begin + 8 <= end; begin += 8) found |= record[begin / 8];
    for (; begin < end; ++begin) found |= record[begin / 8] >> (begin % 8) & 1u;
    return found != 0;
}

inline Refusal check_values(const Form& form, const Parts& parts, Fields& fields) {
    if (any(parts.record, form.record_bits(), 8 * form.record_bytes())) return Refusal::FILLING;
    const Scale scale = parts.scale(form);
    if (!hi_valid(scale.hi)) return Refusal::SCALE;
    if (scale.hi == 0) {
        if (scale.lo != 0 || any(parts.record, form.codes_at(), form.record_bits())) return Refusal::LEVELS_OF_ZERO;
        if (any(parts.record, form.signs_at(), form.codes_at())) return Refusal::SIGN_OF_ZERO;
    } else if (level_is_zero(scale, 0, form.levels())) {
        fields.read_values(form, parts);
        u32 found = 0;
        for (u32 i = 0; i < form.kept; ++i) found |= fields.signs[i] & (fields.codes[i] == 0 ? 1u : 0u);
        if (found != 0) return Refusal::SIGN_OF_ZERO;
    }
    return Refusal::NONE;
}

inline Refusal check_gaps(const Form& form, const Parts& parts, Fields& fields) {
    u32 count = 0, last = 0;
    for (u32 i = 0; i < parts.bitmap_words(); ++i) {
        const u64 word = parts.bitmap[i];
        count += ones(word);
        if (word != 0) last = 64 * i + 63 - static_cast<u32>(__builtin_clzll(word));
    }
    if (count != form.kept) return Refusal::COUNT;
    fields.read_remainders(form, parts);
    u32 remainders = 0;
    for (u32 i = 0; i < form.kept; ++i) remainders += fields.remainders[i];
    const u32 quotients = last - (form.kept - 1);
    const u32 last_position = (quotients << form.remainder) + remainders + form.kept - 1;
    return last_position < form.size ? Refusal::NONE : Refusal::BEYOND_END;
}

inline Refusal check_chunk(const Form& form, const Parts& parts, Fields& fields) {
    const bool gaps = form.has_gaps();
    if (gaps && reinterpret_cast<const u8*>(parts.bitmap)[parts.bitmap_bytes - 1] == 0) return Refusal::BITMAP_ENDS_WITH_ZEROS;
    const Refusal refusal = check_values(form, parts, fields);
    if (refusal != Refusal::NONE || !gaps) return refusal;
    return check_gaps(form, parts, fields);
}

inline bool halves_finite(const u8* halves, u64 count) {
    u32 found = 0;
    for (u64 i = 0; i < count; ++i) found |= (load_half(halves + 2 * i) & HALF_EXPONENT) == HALF_EXPONENT ? 1u : 0u;
    return found == 0;
}

inline Refusal check(Cursor& cursor, u64 chunks) {
    Parts parts;
    Fields fields;
    Walk& walk = cursor.walk;
    for (; chunks > 0; --chunks, walk.next()) {
        parts.load(walk.form, cursor.records + walk.place.record, cursor.bitmaps);
        cursor.bitmaps += parts.bitmap_bytes;
        const Refusal refusal = check_chunk(walk.form, parts, fields);
        if (refusal != Refusal::NONE) return refusal;
    }
    return Refusal::NONE;
}

// ---- decoding what has been checked

// By code, then the same with a sign from SIGNED on.
constexpr u32 SIGNED = 128;

struct Decoder {
    Parts parts;
    Fields fields;
    u32 places[MAX_K + 16];
    u32 positions[MAX_K + 16];  // if anything is left out
    u8 slots[CHUNK + 8];        // of each kept value: where it stands in `values`
    float values[2 * SIGNED];

    void decode(const Form& form, const u8* record, const u8* bitmaps, float weight) {
        parts.load(form, record, bitmaps);
        if (form.has_gaps()) find_positions(form);
        fields.read_values(form, parts);
        for (u32 i = 0; i < form.kept; ++i) slots[i] = static_cast<u8>(fields.codes[i] | fields.signs[i] * SIGNED);
        const Scale scale = parts.scale(form);
        for (u32 code = 0; code < form.levels(); ++code) {
            values[code] = mul(weight, level_value(scale, code, form.levels()));
            values[code + SIGNED] = -values[code];
        }
    }

  private:
    void find_positions(const Form& form) {
        u32* to = places;
        for (u32 word = 0; word < parts.bitmap_words(); ++word) {
            const u32 count = ones(parts.bitmap[word]);
            u64 left = parts.bitmap[word];
            for (u32 done = 0; done < count; done += 4)
                for (u32 i = 0; i < 4; ++i, left &= left - 1) to[done + i] = 64 * word + lowest(left);
            to += count;
        }
        fields.read_remainders(form, parts);
        u32 remainders = 0;
        for (u32 i = 0; i < form.kept; ++i) {
            remainders += fields.remainders[i];
            positions[i] = ((places[i] - i) << form.remainder) + remainders + i;
        }
    }
};

inline void add_chunk(Decoder& decoder, const Form& form, float* into) {
    if (form.has_gaps()) {
        for (u32 i = 0; i < form.kept; ++i) {
            float& target = into[decoder.positions[i]];
            target = add(target, decoder.values[decoder.slots[i]]);
        }
    } else {
        for (u32 i = 0; i < form.size; ++i) into[i] = add(into[i], decoder.values[decoder.slots[i]]);
    }
}

inline void add_halves(const u8* halves, u32 count, float weight, float* into) {
    for (u32 i = 0; i < count; ++i) into[i] = add(into[i], mul(weight, float_of_half(load_half(halves + 2 * i))));
}

// A sparse chunk that has been decoded, and where it is to be added.
struct Pending {
    Decoder decoder;
    Form form;
    float* into = nullptr;

    // Asks for the memory that will be changed.
    void prefetch() const {
        for (u32 i = 0; form.has_gaps() && i < form.kept; ++i) __builtin_prefetch(into + decoder.positions[i], 1);
    }

    void add() {
        if (into != nullptr) add_chunk(decoder, form, into);
        into = nullptr;
    }
};

// One chunk is decoded, and its memory on the way, while the one before is added.
inline void accumulate(const Patch* patches, Cursor* cursors, u64 count, u64 chunks, float* const* into) {
    Pending pending[2];
    u32 turn = 0;
    for (; chunks > 0; --chunks) {
        for (u64 i = 0; i < count; ++i) {
            const Patch& patch = patches[i];
            Cursor& cursor = cursors[i];
            const Walk& walk = cursor.walk;
            float* target = into[walk.tensor] + walk.start;
            if (patch.kind == Kind::FP16) {
                pending[turn].add();
                add_halves(patch.payload + HEADER_BYTES + 2 * walk.place.element, walk.form.size, patch.weight, target);
            } else {
                Pending& next = pending[turn ^ 1];
                next.form = walk.form;
                next.into = target;
                next.decoder.decode(walk.form, cursor.records + walk.place.record, cursor.bitmaps, patch.weight);
                {const char* t = (const char*)(target + CHUNK) + i * 2048; for (u32 z = 0; z < 32; ++z) __builtin_prefetch(t + 64 * z, 1);}
                cursor.bitmaps += next.decoder.parts.bitmap_bytes;
                pending[turn].add();
                turn ^= 1;
            }
            cursor.walk.next();
        }
    }
    pending[turn].add();
}

// Positions in their tensors and values of a sparse payload's next chunks.
inline void entries(Cursor& cursor, u64 chunks, i64* index, float* values) {
    Decoder decoder;
    Walk& walk = cursor.walk;
    for (; chunks > 0; --chunks, walk.next()) {
        const Form& form = walk.form;
        decoder.decode(form, cursor.records + walk.place.record, cursor.bitmaps, 1.0f);
        cursor.bitmaps += decoder.parts.bitmap_bytes;
        i64* positions = index + walk.place.entry;
        float* decoded = values + walk.place.entry;
        for (u32 i = 0; i < form.kept; ++i) {
            positions[i] = static_cast<i64>(walk.start + (form.has_gaps() ? decoder.positions[i] : i));
            decoded[i] = decoder.values[decoder.slots[i]];
        }
    }
}

inline void floats_of_halves(const u8* halves, u64 count, float* values) {
    for (u64 i = 0; i < count; ++i) values[i] = float_of_half(load_half(halves + 2 * i));
}

}  // namespace collab::COLLAB_SET
