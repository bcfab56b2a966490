// Chunks of checked payloads decoded.

#pragma once

#include "cpu_half.h"
#include "cpu_parts.h"

namespace collab::COLLAB_SET {

struct Decoder {
    // Returns the bitmap's bytes.
    u32 decode(const Form form, const u8* record, const u8* bitmap, float weight) {
        parts_.load(form, record, bitmap);
        if (form.has_gaps()) {
            list_ones(parts_.bitmap, parts_.bitmap_words(), places_);
            for (u32 i = 0; i < form.kept; ++i) places_[i] = static_cast<u16>(((places_[i] - i) << form.remainder) + i);
            fields_.read_remainders(form, parts_);
        }
        fields_.read_values(form, parts_);
        for (u32 i = 0; i < form.kept; ++i) slots_[i] = static_cast<u8>(fields_.codes[i] | fields_.signs[i] * SIGNED);
        const Scale scale = parts_.scale(form);
        for (u32 code = 0; code < form.levels(); ++code) {
            values_[code] = mul(weight, level_value(scale, code, form.levels()));
            values_[code + SIGNED] = -values_[code];
        }
        return parts_.bitmap_bytes;
    }

    // visit(i, position, weight * value) for each kept value.
    template <class Visit>
    void for_each(const Form form, Visit visit) const {
        if (form.has_gaps()) {
            u32 remainders = 0;
            for (u32 i = 0; i < form.kept; ++i) {
                remainders += fields_.remainders[i];
                visit(i, places_[i] + remainders, values_[slots_[i]]);
            }
        } else {
            for (u32 i = 0; i < form.kept; ++i) visit(i, i, values_[slots_[i]]);
        }
    }

  private:
    static constexpr u32 SIGNED = 128;  // from here on `values_` has those of negative sign

    Parts parts_;
    Fields fields_;
    u16 places_[8 * MAX_BITMAP + SLACK];  // positions without what remainders add
    u8 slots_[CHUNK + SLACK];             // where each value stands in `values_`
    float values_[2 * SIGNED];
};

// Memory that will be needed later, asked for step by step: all at once would make the processor wait.
struct Ahead {
    const float* from;
    u32 step;  // bytes

    void ask(u32 i) const { __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<u64>(from) + u64{i} * step), 1); }
};

// Patch `number` of `count` asks for its share of the next chunk, if together they change most of its cache lines.
inline Ahead share_of_next(const Form form, const float* into, u64 number, u64 count) {
    constexpr u64 LINES = CHUNK * sizeof(float) / 64;
    if (form.kept * count < LINES) return {into, 0};
    return {into + CHUNK + CHUNK * number / count, static_cast<u32>(CHUNK * sizeof(float) / count / form.kept)};
}

inline void add_halves(const u8* halves, u32 count, float weight, float* into) {
    for (u32 i = 0; i < count; ++i) into[i] = add(into[i], mul(weight, float_of_half(load_half(halves + 2 * i))));
}

inline void accumulate(const Patch* patches, Cursor* cursors, u64 count, u64 chunks, float* const* into) {
    Decoder decoder;
    for (; chunks > 0; --chunks) {
        for (u64 i = 0; i < count; ++i) {
            Cursor& cursor = cursors[i];
            const Walk& walk = cursor.walk;
            const Form form = walk.form;
            float* target = into[walk.tensor] + walk.start;
            if (patches[i].kind == Kind::FP16) {
                add_halves(patches[i].payload + HEADER_BYTES + 2 * walk.place.element, form.size, patches[i].weight, target);
            } else {
                cursor.bitmaps += decoder.decode(form, cursor.records + walk.place.record, cursor.bitmaps, patches[i].weight);
                const Ahead ahead = share_of_next(form, target, i, count);
                decoder.for_each(form, [&](u32 number, u32 position, float value) {
                    ahead.ask(number);
                    target[position] = add(target[position], value);
                });
            }
            cursor.walk.next();
        }
    }
}

// Positions in their tensors and values of a sparse payload's next chunks.
inline void entries(Cursor& cursor, u64 chunks, i64* index, float* values) {
    Decoder decoder;
    Walk& walk = cursor.walk;
    for (; chunks > 0; --chunks, walk.next()) {
        const Form form = walk.form;
        cursor.bitmaps += decoder.decode(form, cursor.records + walk.place.record, cursor.bitmaps, 1.0f);
        i64* positions = index + walk.place.entry;
        float* decoded = values + walk.place.entry;
        decoder.for_each(form, [&](u32 number, u32 position, float value) {
            positions[number] = static_cast<i64>(walk.start + position);
            decoded[number] = value;
        });
    }
}

inline void floats_of_halves(const u8* halves, u64 count, float* values) {
    for (u64 i = 0; i < count; ++i) values[i] = float_of_half(load_half(halves + 2 * i));
}

}  // namespace collab::COLLAB_SET
