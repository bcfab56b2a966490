// docs/WIRE_FORMAT.md as arithmetic: what every compiled encoder and decoder of sparse chunks has in common.
//
// Compiles as C++17 for a host, under nvcc and under NVRTC (which has no standard headers). Every result is an integer or a
// float that is exact or rounded once, so compilers may not differ. `mul` and `add` are one IEEE operation each: on a device by
// intrinsics that are never contracted, on a host only with -ffp-contract=off (and neither -ffast-math nor flushed denormals).

#pragma once

#if defined(__CUDACC__)
#define COLLAB_HD __host__ __device__ __forceinline__
#else
#define COLLAB_HD inline
#endif

namespace collab {

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using i32 = int;
using u64 = unsigned long long;
using i64 = long long;
static_assert(sizeof(u16) == 2 && sizeof(u32) == 4 && sizeof(u64) == 8, "fixed widths");

constexpr u32 CHUNK = 4096;
constexpr u32 K_STEP = 16;
constexpr u32 MAX_K = 512;
constexpr u32 DENSE = 0;  // the density of a tensor that keeps every value
constexpr u32 MAX_VALUE_BITS = 8;
constexpr u32 FIT_STEPS = 2;
constexpr u32 LARGEST_MAGNITUDE = (1u << 24) - 1;
constexpr u32 INFINITY_KEY = 0x7F800000u;  // keys from here on are infinite or NaN
constexpr u32 BF16_LARGEST = 0x7F7Fu;
constexpr u32 LEAST_HI = 0x0500u;  // 2^-117

// ---- floats as bits, and operations rounded once

COLLAB_HD u32 bits_of(float value) {
#if defined(__CUDA_ARCH__)
    return __float_as_uint(value);
#else
    u32 bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
#endif
}

COLLAB_HD float float_of(u32 bits) {
#if defined(__CUDA_ARCH__)
    return __uint_as_float(bits);
#else
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
#endif
}

COLLAB_HD float mul(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}

COLLAB_HD float add(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fadd_rn(a, b);
#else
    return a + b;
#endif
}

COLLAB_HD float sub(float a, float b) { return add(a, -b); }

// Orders floats by magnitude.
COLLAB_HD u32 key_of(float value) { return bits_of(value) & 0x7FFFFFFFu; }

COLLAB_HD float bf16_value(u32 bits) { return float_of(bits << 16); }

COLLAB_HD u32 smaller(u32 a, u32 b) { return a < b ? a : b; }
COLLAB_HD u32 larger(u32 a, u32 b) { return a > b ? a : b; }
COLLAB_HD u32 ceil_div(u32 a, u32 b) { return (a + b - 1) / b; }

// ⌊log2(x)⌋, x > 0.
COLLAB_HD u32 floor_log2(u32 x) {
#if defined(__CUDA_ARCH__)
    return 31u - static_cast<u32>(__clz(static_cast<int>(x)));
#else
    return 31u - static_cast<u32>(__builtin_clz(x));
#endif
}

// ---- the form of a chunk: all that its record's and bitmap's places depend on

struct Form {
    u32 size;       // elements, 1 to CHUNK
    u32 kept;       // values, 1 to size
    u32 bits;       // value bits
    u32 dense;      // whether the tensor is
    u32 remainder;  // r

    COLLAB_HD u32 levels() const { return 1u << (bits - 1); }
    COLLAB_HD bool has_gaps() const { return kept < size; }

    // Where the record's fields begin, in bits.
    COLLAB_HD u32 hi_at() const { return has_gaps() ? 8 : 0; }
    COLLAB_HD u32 lo_at() const { return hi_at() + 16; }
    COLLAB_HD u32 remainders_at() const { return lo_at() + (bits > 1 ? 8 : 0); }
    COLLAB_HD u32 signs_at() const { return remainders_at() + kept * remainder; }
    COLLAB_HD u32 codes_at() const { return signs_at() + kept; }
    COLLAB_HD u32 record_bits() const { return codes_at() + kept * (bits - 1); }
    COLLAB_HD u32 record_bytes() const { return ceil_div(record_bits(), 8); }

    // Bounds of the bitmap's bytes.
    COLLAB_HD u32 least_bitmap() const { return has_gaps() ? ceil_div(kept, 8) : 0; }
    COLLAB_HD u32 most_bitmap() const { return has_gaps() ? ceil_div(kept + ((size - kept) >> remainder), 8) : 0; }
};

COLLAB_HD Form form_of(u32 size, u32 density, u32 value_bits) {
    Form form{size, size, MAX_VALUE_BITS, 1, 0};
    if (density != DENSE) {
        form.kept = ceil_div(K_STEP * density * size, CHUNK);
        form.bits = value_bits;
        form.dense = 0;
        if (form.has_gaps()) form.remainder = floor_log2(7 * size / (10 * form.kept));
    }
    return form;
}

// ---- magnitudes as integers below 2^24 in units of 2^(top - 150)

// A key's biased exponent, as which a denormal's counts as 1.
COLLAB_HD u32 exponent_of(u32 key) { return larger(key >> 23, 1); }

// `top` is the largest `exponent_of` among the chunk's kept values.
COLLAB_HD u32 align(u32 key, u32 top) {
    const u32 significand = (key & 0x7FFFFFu) | (key >= 0x800000u ? 0x800000u : 0u);
    return significand >> smaller(top - exponent_of(key), 24);
}

// ---- the fit

struct Line {
    u32 lo, hi;  // lo <= hi <= LARGEST_MAGNITUDE
};

COLLAB_HD Line first_line(const Form& form, u32 least, u32 largest, u64 sum) {
    if (form.dense) return {0, largest};
    const u32 mean = static_cast<u32>(sum / form.kept);
    if (form.bits == 1) return {0, mean};
    return {least, form.bits == 2 ? smaller(largest, least + 3 * (mean - least)) : largest};
}

// How many of the edges lo + ⌊(hi - lo)(2j + 1) / (2L - 2)⌋, 0 <= j < L - 1, the magnitude exceeds; L > 1.
// It exceeds an edge if and only if (hi - lo)(2j + 1) < (magnitude - lo)(2L - 2); both are below 2^32.
COLLAB_HD u32 fit_code(u32 magnitude, const Line& line, u32 levels) {
    if (magnitude <= line.lo) return 0;
    const u32 width = line.hi - line.lo;
    if (width == 0) return levels - 1;
    const u32 last_odd = ((magnitude - line.lo) * (2 * levels - 2) - 1) / width;
    return smaller((last_odd + 1) / 2, levels - 1);
}

// Over a chunk's kept values: Σm, Σc, Σc², Σcm.
struct Sums {
    u64 m, c, cc, cm;
};

// Where the line through codes and magnitudes with the least squared error begins and ends, both to be divided by `determinant`; if that
// is not above zero, no single line is best.
struct Ends {
    i64 bottom, top, determinant;
};

COLLAB_HD Ends ends_of(const Form& form, const Sums& sums) {
    const i64 kept = form.kept, m = static_cast<i64>(sums.m), c = static_cast<i64>(sums.c);
    const i64 cc = static_cast<i64>(sums.cc), cm = static_cast<i64>(sums.cm);
    const i64 bottom = m * cc - c * cm;
    return {bottom, bottom + (form.levels() - 1) * (kept * cm - c * m), kept * cc - c * c};
}

COLLAB_HD Line line_between(i64 bottom, i64 top) {
    return {bottom > 0 ? static_cast<u32>(bottom) : 0, top < LARGEST_MAGNITUDE ? static_cast<u32>(top) : LARGEST_MAGNITUDE};
}

// That line, or the one before.
COLLAB_HD Line least_squares(const Form& form, const Line& before, const Sums& sums) {
    const Ends ends = ends_of(form, sums);
    if (ends.determinant <= 0) return before;
    return line_between(ends.bottom / ends.determinant, ends.top / ends.determinant);
}

// ---- a chunk's scale: hi as bf16 bits, lo in 256ths of hi

struct Scale {
    u32 hi, lo;
};

// Float bits without a sign, rounded to bf16 to nearest, ties to even; infinity becomes the largest bf16.
COLLAB_HD u32 bf16_nearest(u32 key) { return smaller((key + 0x7FFFu + ((key >> 16) & 1u)) >> 16, BF16_LARGEST); }

COLLAB_HD Scale scale_of(const Line& line, u32 top) {
    if (line.hi == 0) return {0, 0};
    // An integer below 2^24 is exact as a float; moving its exponent multiplies it by a power of two.
    const i32 key = static_cast<i32>(bits_of(static_cast<float>(line.hi))) + (static_cast<i32>(top) - 150) * (1 << 23);
    const u32 hi = key > 0 ? bf16_nearest(static_cast<u32>(key)) : 0;
    if (hi < LEAST_HI) return {0, 0};
    const u64 lo = (512ull * line.lo + line.hi) / (2 * line.hi);
    return {hi, lo < 255 ? static_cast<u32>(lo) : 255};
}

// Refused by decoders unless true.
COLLAB_HD bool hi_valid(u32 hi) { return hi == 0 || (hi >= LEAST_HI && hi <= BF16_LARGEST); }

// n_c, in 256ths of hi.
COLLAB_HD u32 numerator(u32 lo, u32 code, u32 levels) {
    if (levels == 1) return 256;
    const u32 steps = levels - 1;
    return lo + (2 * (256 - lo) * code + steps) / (2 * steps);
}

COLLAB_HD float level_value(const Scale& scale, u32 code, u32 levels) {
    return mul(bf16_value(scale.hi), mul(static_cast<float>(numerator(scale.lo, code, levels)), 1.0f / 256));
}

// The key of the edge between the levels `code` and `code` + 1.
COLLAB_HD u32 edge_key(const Scale& scale, u32 code, u32 levels) {
    const u32 both = numerator(scale.lo, code, levels) + numerator(scale.lo, code + 1, levels);
    return bits_of(mul(bf16_value(scale.hi), mul(static_cast<float>(both), 1.0f / 512)));
}

// The number of edges that a magnitude exceeds. Edges ascend.
COLLAB_HD u32 code_of(u32 key, const Scale& scale, u32 levels) {
    if (scale.hi == 0) return 0;
    u32 code = 0;
    for (u32 step = levels / 2; step > 0; step /= 2)
        if (key > edge_key(scale, code + step - 1, levels)) code += step;
    return code;
}

COLLAB_HD bool level_is_zero(const Scale& scale, u32 code, u32 levels) {
    return scale.hi == 0 || numerator(scale.lo, code, levels) == 0;
}

}  // namespace collab
