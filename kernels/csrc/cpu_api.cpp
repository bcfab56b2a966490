// The codec on the CPU as a plain C library. kernels/native/library.py is its only caller and holds the same structures.
//
// Arrays describe tensors in the order of the layout. Nothing is kept between calls. `threads` >= 1 and `set` change speed only.

#include <cstring>
#include <new>

#include "cpu_decoding.h"

#define COLLAB_API extern "C" __attribute__((visibility("default")))

namespace collab {
namespace {

constexpr u32 ABI = 1;  // changes with any signature or structure below

constexpr i64 NOT_FINITE_TOTAL = -1, NO_MEMORY = -2;  // returned instead of a size or a `Refusal`

const Operations* const SETS[] = {
    &PORTABLE,
#if defined(__x86_64__)
    &AVX2,
    &AVX512,
#endif
};

// A range's bitmaps.
struct Written {
    u64 at, bytes;
};

// The bitmaps of each range were written as if all before were as long as can be; now they are moved together.
u64 join(u8* bitmaps, const std::vector<Written>& parts) {
    u64 joined = 0;
    for (const Written& part : parts) {
        std::memmove(bitmaps + joined, bitmaps + part.at, part.bytes);
        joined += part.bytes;
    }
    return joined;
}

i64 compress_sparse(CompressJob job, u64 threads, const Operations& set, u8* body) {
    const u64 chunks = job.shape.chunks();
    const Place end = Walk(job.shape, job.densities, job.value_bits, chunks).place;
    std::memcpy(body, job.densities, job.shape.tensors);
    job.records = body + job.shape.tensors;
    u8* bitmaps = job.records + end.record;
    const Ranges ranges(chunks, threads, LEAST_CHUNKS);
    std::vector<Written> written(ranges.count());
    ranges.run([&](u64 part, u64 first, u64 last) {
        const u64 at = Walk(job.shape, job.densities, job.value_bits, first).place.longest_bitmap;
        written[part] = {at, set.compress(job, first, last, bitmaps + at)};
    });
    for (const Written& part : written)
        if (part.bytes == NOT_FINITE) return NOT_FINITE_TOTAL;
    return static_cast<i64>(job.shape.tensors + end.record + join(bitmaps, written));
}

i64 compress_fp16(const Shape& shape, const Source* sources, float decay, u64 threads, const Operations& set, u8* body) {
    u8* halves = body;
    bool finite = true;
    for (u64 i = 0; i < shape.tensors; ++i) {
        const Ranges ranges(shape.elements[i], threads, LEAST_CHUNKS * CHUNK);
        std::vector<u8> good(ranges.count());
        ranges.run([&](u64 part, u64 first, u64 last) {
            Source source = sources[i];
            source.delta = static_cast<const u8*>(source.delta) + first * (source.is_bf16 ? 2 : 4);
            if (source.residual != nullptr) source.residual += first;
            source.out += first;
            good[part] = set.compress_halves(source, decay, last - first, halves + 2 * first) ? 1 : 0;
        });
        for (const u8 each : good) finite = finite && each != 0;
        halves += 2 * shape.elements[i];
    }
    return finite ? halves - body : NOT_FINITE_TOTAL;
}

// Calls `work`, which returns a status.
template <class Work>
i64 guarded(const Work& work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}

}  // namespace
}  // namespace collab

using namespace collab;

COLLAB_API u32 collab_abi() { return ABI; }

// How many of SETS this machine can run: each needs what those before it need.
COLLAB_API u32 collab_sets() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                      __builtin_cpu_supports("popcnt");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512vbmi2");
    return 1 + (avx2 ? 1 : 0) + (avx512 ? 1 : 0);
#else
    return 1;
#endif
}

// Writes a payload's checksum into it.
COLLAB_API void collab_seal(u8* payload, u64 bytes) {
    const u32 checksum = checksum_of(payload, bytes);
    std::memcpy(payload + CHECKSUM_AT, &checksum, sizeof checksum);
}

// The most bytes that follow the header of a sparse payload.
COLLAB_API u64 collab_most_bytes(const u64* elements, u64 tensors, const u8* densities, u32 value_bits) {
    const Shape shape{elements, tensors};
    const Place end = Walk(shape, densities, value_bits, shape.chunks()).place;
    return tensors + end.record + end.longest_bitmap;
}

// Writes what follows the header of a sparse payload, and residuals. Returns the bytes written, or a status below zero.
COLLAB_API i64 collab_compress(const u64* elements, u64 tensors, const u8* densities, const Source* sources, u32 value_bits,
                               float decay, u32 threads, u32 set, u8* body) {
    return guarded([&] {
        return compress_sparse({{elements, tensors}, densities, value_bits, decay, sources, nullptr}, threads, *SETS[set], body);
    });
}

// The same for fp16.
COLLAB_API i64 collab_compress_halves(const u64* elements, u64 tensors, const Source* sources, float decay, u32 threads, u32 set,
                                      u8* body) {
    return guarded([&] { return compress_fp16({elements, tensors}, sources, decay, threads, *SETS[set], body); });
}

// Returns a `Refusal`, or a status below zero.
COLLAB_API i64 collab_check(const u64* elements, u64 tensors, const Patch* patches, u64 count, u32 threads, u32 set) {
    return guarded([&] { return static_cast<i64>(Decoding({elements, tensors}, patches, count, threads, *SETS[set]).check()); });
}

// Checks all patches, then changes `into`. Returns as collab_check does.
COLLAB_API i64 collab_accumulate(const u64* elements, u64 tensors, const Patch* patches, u64 count, float* const* into,
                                 u32 threads, u32 set) {
    return guarded([&] {
        Decoding decoding({elements, tensors}, patches, count, threads, *SETS[set]);
        const Refusal refusal = decoding.check();
        if (refusal == Refusal::NONE) decoding.accumulate(into);
        return static_cast<i64>(refusal);
    });
}

// Checks a patch, then writes positions (unless it is fp16) and values of its kept elements, tensor after tensor.
COLLAB_API i64 collab_entries(const u64* elements, u64 tensors, const Patch* patch, i64* index, float* values, u32 threads,
                              u32 set) {
    return guarded([&] {
        Decoding decoding({elements, tensors}, patch, 1, threads, *SETS[set]);
        const Refusal refusal = decoding.check();
        if (refusal == Refusal::NONE) decoding.entries(index, values);
        return static_cast<i64>(refusal);
    });
}
