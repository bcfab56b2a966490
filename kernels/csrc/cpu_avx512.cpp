// The codec for AVX-512 (F, BW, DQ, VL, VBMI2), BMI and POPCNT.

#include "cpu_operations.h"

#if defined(__x86_64__)
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi,bmi2,popcnt"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi,bmi2,popcnt")
#endif

#define COLLAB_SET avx512
#define COLLAB_AVX512
#include "cpu_set.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace collab {
const Operations AVX512 = avx512::OPERATIONS;
}
#endif
