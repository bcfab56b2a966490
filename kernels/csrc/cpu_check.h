// Chunks of payloads checked: everything that a decoder refuses but lengths (cpu_decoding.h).

#pragma once

#include "cpu_half.h"
#include "cpu_parts.h"

namespace collab::COLLAB_SET {

// Whether any of the bits from `begin` to `end` is set.
inline bool any(const u8* record, u32 begin, u32 end) {
    u32 found = 0;
    for (; begin < end && begin % 8 != 0; ++begin) found |= record[begin / 8] >> (begin % 8) & 1u;
    for (; begin + 8 <= end; begin += 8) found |= record[begin / 8];
    for (; begin < end; ++begin) found |= record[begin / 8] >> (begin % 8) & 1u;
    return found != 0;
}

inline Refusal check_values(const Form form, const Parts& parts, Fields& fields) {
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

inline Refusal check_gaps(const Form form, const Parts& parts, Fields& fields) {
    u32 count = 0, last = 0;
    for (u32 i = 0; i < parts.bitmap_words(); ++i) {
        const u64 word = parts.bitmap[i];
        count += ones(word);
        if (word != 0) last = WORD * i + highest(word);
    }
    if (count != form.kept) return Refusal::COUNT;
    fields.read_remainders(form, parts);
    u32 remainders = 0;
    for (u32 i = 0; i < form.kept; ++i) remainders += fields.remainders[i];
    const u32 quotients = last - (form.kept - 1);
    const u32 last_position = (quotients << form.remainder) + remainders + form.kept - 1;
    return last_position < form.size ? Refusal::NONE : Refusal::BEYOND_END;
}

inline Refusal check_chunk(const Form form, const Parts& parts, Fields& fields) {
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

}  // namespace collab::COLLAB_SET
