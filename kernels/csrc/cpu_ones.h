// Positions of the bits that are set in words, in order. Up to SLACK entries beyond them are written too, and mean nothing.

#pragma once

#include "cpu_bits.h"

namespace collab::COLLAB_SET {

#if defined(COLLAB_AVX512)

inline void list_ones(const u64* words, u32 count, u16* positions) {
    constexpr u32 LANES = 32;
    alignas(64) static constexpr u16 FIRST[LANES] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                                     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    __m512i at = _mm512_load_si512(FIRST);
    for (u32 i = 0; i < WORD * count; i += LANES, at = _mm512_add_epi16(at, _mm512_set1_epi16(LANES))) {
        const u32 marks = static_cast<u32>(words[i / WORD] >> i % WORD);
        _mm512_storeu_si512(positions, _mm512_maskz_compress_epi16(marks, at));
        positions += ones(marks);
    }
}

#else

// For each byte the positions of its set bits, then zeros.
struct OnesOfBytes {
    u8 of[256][8] = {};

    constexpr OnesOfBytes() {
        for (u32 byte = 0; byte < 256; ++byte)
            for (u32 bit = 0, count = 0; bit < 8; ++bit)
                if (byte >> bit & 1) of[byte][count++] = static_cast<u8>(bit);
    }
};

constexpr OnesOfBytes ONES;

// No branch depends on a bit.
inline void list_ones(const u64* words, u32 count, u16* positions) {
    for (u32 at = 0; at < WORD * count; at += 8) {
        const u32 byte = words[at / WORD] >> (at % WORD) & 0xFF;
        for (u32 i = 0; i < 8; ++i) positions[i] = static_cast<u16>(at + ONES.of[byte][i]);
        positions += ones(byte);
    }
}

#endif

}  // namespace collab::COLLAB_SET
