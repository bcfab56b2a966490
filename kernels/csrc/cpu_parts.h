// What a payload says about one chunk, taken apart.

#pragma once

#include "cpu_bits.h"
#include "cpu_ones.h"
#include "cpu_operations.h"

namespace collab::COLLAB_SET {

// A chunk's record and bitmap, copied to where words may be read beyond them.
struct Parts {
    u8 record[MAX_RECORD + SLACK];
    u64 bitmap[MAX_BITMAP / 8 + 1];
    u32 bitmap_bytes;

    void load(const Form form, const u8* from, const u8* bitmaps) {
        __builtin_memcpy(record, from, form.record_bytes());
        bitmap_bytes = form.has_gaps() ? form.least_bitmap() + record[0] : 0;
        if (bitmap_bytes == 0) return;
        bitmap[(bitmap_bytes - 1) / 8] = 0;
        __builtin_memcpy(bitmap, bitmaps, bitmap_bytes);
    }

    u32 bitmap_words() const { return (bitmap_bytes + 7) / 8; }

    Scale scale(const Form form) const {
        const u8* at = record + form.hi_at() / 8;
        return {at[0] | static_cast<u32>(at[1]) << 8, form.bits > 1 ? at[2] : 0u};
    }
};

// Fields of a record, one a byte.
struct Fields {
    u8 remainders[MAX_K + SLACK];
    u8 signs[CHUNK + SLACK];
    u8 codes[CHUNK + SLACK];

    void read_values(const Form form, const Parts& parts) {
        get_fields(parts.record, form.signs_at(), form.kept, 1, signs);
        get_fields(parts.record, form.codes_at(), form.kept, form.bits - 1, codes);
    }

    void read_remainders(const Form form, const Parts& parts) {
        get_fields(parts.record, form.remainders_at(), form.kept, form.remainder, remainders);
    }
};

}  // namespace collab::COLLAB_SET
