// Which of 64 magnitudes reach a guess, and totals computed beside it. Here and in cpu_ones.h instructions of a set stand by name.

#pragma once

#include "cpu_bits.h"
#include "cpu_operations.h"

namespace collab::COLLAB_SET {

inline float element(const float* delta, u32 i) { return delta[i]; }
inline float element(const u16* delta, u32 i) { return bf16_value(delta[i]); }

#if defined(COLLAB_AVX512)

struct Lanes {
    static constexpr u32 COUNT = 16;
    __m512 values;

    explicit Lanes(float value) : values(_mm512_set1_ps(value)) {}
    explicit Lanes(__m512 of) : values(of) {}
    explicit Lanes(const float* from) : values(_mm512_loadu_ps(from)) {}
    explicit Lanes(const u16* from) {  // masked, as GCC 12 takes the unmasked ones to read what was never set
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        values = _mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xFFFF, _mm512_maskz_cvtepu16_epi32(0xFFFF, halves), 16));
    }

    void store(float* to) const { _mm512_storeu_ps(to, values); }
    Lanes plus_product(Lanes a, Lanes b) const { return Lanes(_mm512_add_ps(_mm512_mul_ps(a.values, b.values), values)); }
    u64 reaching(Lanes guess) const { return _mm512_cmp_ps_mask(_mm512_abs_ps(values), guess.values, _CMP_NLT_UQ); }
};

#elif defined(COLLAB_AVX2)

struct Lanes {
    static constexpr u32 COUNT = 8;
    __m256 values;

    explicit Lanes(float value) : values(_mm256_set1_ps(value)) {}
    explicit Lanes(__m256 of) : values(of) {}
    explicit Lanes(const float* from) : values(_mm256_loadu_ps(from)) {}
    explicit Lanes(const u16* from)
        : values(_mm256_castsi256_ps(
              _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), 16))) {}

    void store(float* to) const { _mm256_storeu_ps(to, values); }
    Lanes plus_product(Lanes a, Lanes b) const { return Lanes(_mm256_add_ps(_mm256_mul_ps(a.values, b.values), values)); }
    u64 reaching(Lanes guess) const {
        const __m256 magnitudes = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
        return static_cast<u32>(_mm256_movemask_ps(_mm256_cmp_ps(magnitudes, guess.values, _CMP_NLT_UQ)));
    }
};

#endif

// totals = decay * residual (nothing, where it is null) + delta
template <class Delta>
inline void add_up(const Delta* delta, const float* residual, float decay, float* totals, u32 count) {
    if (residual == nullptr) {
        COLLAB_INDEPENDENT
        for (u32 i = 0; i < count; ++i) totals[i] = element(delta, i);
    } else {
        COLLAB_INDEPENDENT
        for (u32 i = 0; i < count; ++i) totals[i] = add(mul(decay, residual[i]), element(delta, i));
    }
}

// Bit i says that |totals[i]| is not below `guess`. So NaN is marked by any guess, and infinity by any finite one.
#if defined(COLLAB_AVX512) || defined(COLLAB_AVX2)

inline u64 reaching(const float* totals, float guess) {
    const Lanes bound(guess);
    u64 marks = 0;
    for (u32 i = 0; i < WORD; i += Lanes::COUNT) marks |= Lanes(totals + i).reaching(bound) << i;
    return marks;
}

// add_up of 64, and which of them reach `guess`: seen while they are in registers, as loading what was just stored may have to wait.
template <class Delta>
inline u64 add_up_and_mark(const Delta* delta, const float* residual, float decay, float* totals, float guess) {
    const Lanes bound(guess), factor(decay);
    u64 marks = 0;
    for (u32 i = 0; i < WORD; i += Lanes::COUNT) {
        Lanes sum(delta + i);
        if (residual != nullptr) sum = sum.plus_product(factor, Lanes(residual + i));
        sum.store(totals + i);
        marks |= sum.reaching(bound) << i;
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

template <class Delta>
inline u64 add_up_and_mark(const Delta* delta, const float* residual, float decay, float* totals, float guess) {
    add_up(delta, residual, decay, totals, WORD);
    return reaching(totals, guess);
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
