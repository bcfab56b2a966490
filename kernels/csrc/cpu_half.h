// IEEE halves as bits, by integer and float32 operations that compilers vectorise.

#pragma once

#include "format.h"

namespace collab::COLLAB_SET {

constexpr float LARGEST_HALF = 65504.0f;
constexpr u32 HALF_EXPONENT = 0x7C00u;  // all ones: infinite or NaN
constexpr u32 LEAST_NORMAL = 113u << 23;  // 2^-14 as float bits

inline u32 load_half(const u8* from) {
    u16 half;
    __builtin_memcpy(&half, from, 2);
    return half;
}

// Of a finite half.
inline float float_of_half(u32 half) {
    const u32 shifted = (half & 0x7FFFu) << 13;
    const float normal = float_of(shifted + (112u << 23));
    const float denormal = sub(float_of(shifted + LEAST_NORMAL), float_of(LEAST_NORMAL));
    return float_of(bits_of((half & HALF_EXPONENT) != 0 ? normal : denormal) | (half & 0x8000u) << 16);
}

// Of a finite float: clamped, then to nearest, ties to even.
inline u32 half_of_float(float value) {
    const u32 key = smaller(key_of(value), bits_of(LARGEST_HALF));
    const u32 normal = (key - (112u << 23) + 0xFFFu + ((key >> 13) & 1u)) >> 13;
    constexpr float ROUNDER = 0.5f;  // its last bit is the last bit of a denormal half, 2^-24
    const u32 denormal = bits_of(add(float_of(key), ROUNDER)) - bits_of(ROUNDER);
    return (key >= LEAST_NORMAL ? normal : denormal) | (bits_of(value) >> 31 << 15);
}

}  // namespace collab::COLLAB_SET
