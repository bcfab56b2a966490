// The codec for AVX2, BMI and POPCNT.

#include "cpu_operations.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#endif

#define COLLAB_SET avx2
#define COLLAB_AVX2
#include "cpu_set.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace collab {
const Operations AVX2 = avx2::OPERATIONS;
}
#endif
