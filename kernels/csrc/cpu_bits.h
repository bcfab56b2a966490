// Fields of up to 8 bits, one a byte in memory, packed without gaps and back, eight at a time; and masks of 64 bits.

#pragma once

#include "format.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian, and words are copied to it");

namespace collab::COLLAB_SET {

inline u64 load_word(const u8* from) {
    u64 word;
    __builtin_memcpy(&word, from, 8);
    return word;
}

inline u32 ones(u64 word) { return static_cast<u32>(__builtin_popcountll(word)); }

// The position of the lowest set bit; 63 if there is none, so that no branch is needed.
inline u32 lowest(u64 word) { return static_cast<u32>(__builtin_ctzll(word | 1ull << 63)); }

// Eight bytes below 2^width as 8 * width bits: neighbours are moved together, then pairs, then fours.
inline u64 join_eight(u64 bytes, u32 width) {
    const u64 pairs = (bytes & 0x00FF00FF00FF00FFull) | ((bytes & 0xFF00FF00FF00FF00ull) >> (8 - width));
    const u64 fours = (pairs & 0x0000FFFF0000FFFFull) | ((pairs & 0xFFFF0000FFFF0000ull) >> (16 - 2 * width));
    return (fours & 0xFFFFFFFFull) | ((fours >> 32) << (4 * width));
}

inline u64 split_eight(u64 bits, u32 width) {
    const u64 half = (1ull << (4 * width)) - 1, quarter = (1ull << (2 * width)) - 1, eighth = (1ull << width) - 1;
    const u64 fours = (bits & half) | (((bits >> (4 * width)) & half) << 32);
    const u64 pairs = (fours & quarter * 0x0000000100000001ull) | ((fours & (quarter << (2 * width)) * 0x0000000100000001ull) << (16 - 2 * width));
    return (pairs & eighth * 0x0001000100010001ull) | ((pairs & (eighth << width) * 0x0001000100010001ull) << (8 - width));
}

// Writes from a byte on, and never beyond the last byte that it was given bits of.
class BitWriter {
  public:
    explicit BitWriter(u8* to) : to_(to) {}

    // `bits` has no bit set from `width` <= 64 on.
    void put(u64 bits, u32 width) {
        word_ |= bits << filled_;
        if (filled_ + width < 64) {
            filled_ += width;
            return;
        }
        __builtin_memcpy(to_, &word_, 8);
        to_ += 8;
        const u32 written = 64 - filled_;
        word_ = written < 64 ? bits >> written : 0;
        filled_ = width - written;
    }

    // Bytes below 2^width, width <= 7. Reads up to 7 bytes beyond them.
    void put_fields(const u8* fields, u32 count, u32 width) {
        if (width == 0) return;
        for (u32 i = 0; i + 8 <= count; i += 8) put(join_eight(load_word(fields + i), width), 8 * width);
        const u32 left = count % 8;
        if (left == 0) return;
        put(join_eight(load_word(fields + count - left) & ((1ull << (8 * left)) - 1), width), left * width);
    }

    // Fills the last byte up with zeros.
    void finish() { __builtin_memcpy(to_, &word_, (filled_ + 7) / 8); }

  private:
    u8* to_;
    u64 word_ = 0;
    u32 filled_ = 0;
};

// `count` fields of `width` <= 7 bits, from bit `at` on. Reads up to 15 bytes beyond them, writes up to 7 beyond `fields`.
inline void get_fields(const u8* from, u32 at, u32 count, u32 width, u8* fields) {
    for (u32 i = 0; i < count; i += 8, at += 8 * width) {
        const u64 bits = load_word(from + at / 8) >> (at % 8);
        const u64 eight = width == 0 ? 0 : split_eight(at % 8 + 8 * width > 64 ? bits | load_word(from + at / 8 + 8) << (64 - at % 8) : bits, width);
        __builtin_memcpy(fields + i, &eight, 8);
    }
}

}  // namespace collab::COLLAB_SET
