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

// All ones or all zeros, 32 bits an element.
inline __m256i reach_eight(const float* totals, __m256 bound) {
    const __m256 magnitudes = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(totals));
    return _mm256_castps_si256(_mm256_cmp_ps(magnitudes, bound, _CMP_NLT_UQ));
}

// Narrowed to a byte an element. Packing leaves fours of elements in the order 0 2 4 6 1 3 5 7.
inline u64 reach_half(const float* totals, __m256 bound) {
    const __m256i low = _mm256_packs_epi32(reach_eight(totals, bound), reach_eight(totals + 8, bound));
    const __m256i high = _mm256_packs_epi32(reach_eight(totals + 16, bound), reach_eight(totals + 24, bound));
    const __m256i fours = _mm256_packs_epi16(low, high);
    const __m256i ordered = _mm256_permutevar8x32_epi32(fours, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return static_cast<u32>(_mm256_movemask_epi8(ordered));
}

inline u64 reaching(const float* totals, float guess) {
    const __m256 bound = _mm256_set1_ps(guess);
    return reach_half(totals, bound) | reach_half(totals + WORD / 2, bound) << 32;
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
