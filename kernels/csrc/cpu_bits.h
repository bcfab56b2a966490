// Fields of up to 7 bits, one a byte in memory, packed without gaps and back, eight at a time.

#pragma once

#include "format.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little-endian, and words are copied to it");

namespace collab::COLLAB_SET {

constexpr u32 WORD = 64;
constexpr u32 SLACK = 32;  // what arrays have beyond their end, as elements are read and written in groups

inline u64 load_word(const u8* from) {
    u64 word;
    __builtin_memcpy(&word, from, 8);
    return word;
}

inline void store_word(u8* to, u64 word) { __builtin_memcpy(to, &word, 8); }

inline u32 ones(u64 word) { return static_cast<u32>(__builtin_popcountll(word)); }

// The positions of the lowest and the highest set bit, of one at least.
inline u32 lowest(u64 word) { return static_cast<u32>(__builtin_ctzll(word)); }
inline u32 highest(u64 word) { return 63 - static_cast<u32>(__builtin_clzll(word)); }

// Eight bytes below 2^width as 8 * width bits: neighbours are moved together, then pairs, then fours.
inline u64 join_eight(u64 bytes, u32 width) {
    const u64 pairs = (bytes & 0x00FF00FF00FF00FFull) | ((bytes & 0xFF00FF00FF00FF00ull) >> (8 - width));
    const u64 fours = (pairs & 0x0000FFFF0000FFFFull) | ((pairs & 0xFFFF0000FFFF0000ull) >> (16 - 2 * width));
    return (fours & 0xFFFFFFFFull) | ((fours >> 32) << (4 * width));
}

// The inverse; what lies above is ignored.
inline u64 split_eight(u64 bits, u32 width) {
    const u64 four = (1ull << 4 * width) - 1;
    const u64 two = ((1ull << 2 * width) - 1) * 0x0000000100000001ull;
    const u64 one = ((1ull << width) - 1) * 0x0001000100010001ull;
    const u64 fours = (bits & four) | ((bits & four << 4 * width) << (32 - 4 * width));
    const u64 pairs = (fours & two) | ((fours & two << 2 * width) << (16 - 2 * width));
    return (pairs & one) | ((pairs & one << width) << (8 - width));
}

// The same for a width of one.
inline u64 join_eight_bits(u64 bytes) { return bytes * 0x0102040810204080ull >> 56; }

inline u64 split_eight_bits(u64 bits) {
    const u64 spread = (bits & 0xFF) * 0x0101010101010101ull & 0x8040201008040201ull;  // bit i in byte i
    return (spread + 0x7F7F7F7F7F7F7F7Full) >> 7 & 0x0101010101010101ull;
}

// Writes bits from a byte on, lowest first. Touches up to 8 bytes beyond them.
class BitWriter {
  public:
    explicit BitWriter(u8* to) : to_(to) {}

    // `width` <= 56; `bits` has no bit set from there on.
    void put(u64 bits, u32 width) {
        word_ |= bits << filled_;
        store_word(to_, word_);
        const u32 bytes = (filled_ + width) / 8;
        to_ += bytes;
        word_ >>= 8 * bytes;
        filled_ = (filled_ + width) % 8;
    }

    // Bytes below 2^width. Reads up to 7 beyond them.
    void put_fields(const u8* fields, u32 count, u32 width) {
        u32 i = 0;
        for (; width != 1 && i + 8 <= count; i += 8) put(join_eight(load_word(fields + i), width), 8 * width);
        for (; width == 1 && i + 8 <= count; i += 8) put(join_eight_bits(load_word(fields + i)), 8);
        if (i < count) put(join_eight(load_word(fields + i) & ((1ull << 8 * (count - i)) - 1), width), (count - i) * width);
    }

  private:
    u8* to_;
    u64 word_ = 0;
    u32 filled_ = 0;  // below 8
};

// Reads `count` fields from bit `at` on as bytes. Reads up to 15 bytes beyond them, writes up to 7.
inline void get_fields(const u8* from, u32 at, u32 count, u32 width, u8* fields) {
    const u32 shift = at % 8;
    from += at / 8;
    if (width == 1) {
        for (u32 i = 0; i < count; i += 8, ++from) store_word(fields + i, split_eight_bits(load_word(from) >> shift));
    } else {
        for (u32 i = 0; i < count; i += 8, from += width) store_word(fields + i, split_eight(load_word(from) >> shift, width));
    }
}

}  // namespace collab::COLLAB_SET
