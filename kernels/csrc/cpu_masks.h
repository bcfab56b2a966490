// Which of 64 magnitudes reach a guess: the one place with instructions of a set by name.

#pragma once

#include "cpu_bits.h"

namespace collab::COLLAB_SET {

// Bit i says that |totals[i]| is not below `guess`. So NaN is marked by any guess, and infinity by any finite one.
#if defined(COLLAB_AVX512)

inline u64 reaching(const float* totals, float guess) {
    const __m512 bound = _mm512_set1_ps(guess);
    u64 marks = 0;
    for (u32 i = 0; i < WORD; i += 16) {
        const __m512 magnitudes = _mm512_abs_ps(_mm512_loadu_ps(totals + i));
        marks |= static_cast<u64>(_mm512_cmp_ps_mask(magnitudes, bound, _CMP_NLT_UQ)) << i;
    }
    return marks;
}

#elif defined(COLLAB_AVX2)

inline u64 reaching(const float* totals, float guess) {
    const __m256 bound = _mm256_set1_ps(guess), sign = _mm256_set1_ps(-0.0f);
    u64 marks = 0;
    for (u32 i = 0; i < WORD; i += 8) {
        const __m256 magnitudes = _mm256_andnot_ps(sign, _mm256_loadu_ps(totals + i));
        const int eight = _mm256_movemask_ps(_mm256_cmp_ps(magnitudes, bound, _CMP_NLT_UQ));
        marks |= static_cast<u64>(static_cast<u32>(eight)) << i;
    }
    return marks;
}

#else

inline u64 reaching(const float* totals, float guess) {
    u8 flags[WORD];
    for (u32 i = 0; i < WORD; ++i) flags[i] = float_of(key_of(totals[i])) < guess ? 0 : 1;
    u64 marks = 0;
    for (u32 i = 0; i < WORD; i += 8) marks |= join_eight_bits(load_word(flags + i)) << i;
    return marks;
}

#endif

// Fewer than 64 totals, filled up with zeros.
struct Padded {
    float totals[WORD] = {};
    u64 inside;

    Padded(const float* from, u32 count) : inside((1ull << count) - 1) { __builtin_memcpy(totals, from, count * sizeof(float)); }

    u64 reaching(float guess) const { return COLLAB_SET::reaching(totals, guess) & inside; }
};

// The same as `reaching` for any number.
inline u64 reaching_up_to(const float* totals, u32 count, float guess) {
    return count >= WORD ? reaching(totals, guess) : Padded(totals, count).reaching(guess);
}

}  // namespace collab::COLLAB_SET
