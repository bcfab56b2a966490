// What is compiled once for each instruction set, and chosen at run time.
//
// Each cpu_<set>.cpp includes cpu_set.h in a namespace of its own, under its compiler options. Nothing there may instantiate
// templates of the standard library or other inline functions that the linker could take for those of a lesser set.

#pragma once

#include "cpu_walk.h"

#if defined(__clang__)
#define COLLAB_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define COLLAB_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace collab {

// Where one tensor is read and written. `out` may be `residual`.
struct Source {
    const void* delta;
    const float* residual;  // or null
    float* out;
    u64 is_bf16;  // what delta is, else float32
};

struct CompressJob {
    Shape shape;
    const u8* densities;
    u32 value_bits;
    float decay;
    const Source* sources;
    u8* records;
};

constexpr u32 MAX_RECORD = CHUNK + 3;                              // bytes, of a dense chunk
constexpr u32 MAX_BITMAP = (MAX_K + (CHUNK - MAX_K) / 4 + 7) / 8;  // of a full chunk with k = 512

constexpr u64 NOT_FINITE = ~0ull;

enum class Kind : u32 { SPARSE = 1, FP16 = 2 };

// A payload whose header has been read and belongs to the shape.
struct Patch {
    const u8* payload;
    u64 bytes;
    Kind kind;
    u32 value_bits;
    float weight;
    u32 unused;
};

constexpr u64 HEADER_BYTES = 64;

// Why a payload is refused; kernels/native/library.py has the words.
enum class Refusal : i32 {
    NONE = 0,
    DENSITIES,
    LENGTH,
    CHECKSUM,
    BITMAP_TOO_LONG,
    BITMAP_ENDS_WITH_ZEROS,
    FILLING,
    SCALE,
    LEVELS_OF_ZERO,
    SIGN_OF_ZERO,
    COUNT,
    BEYOND_END,
    HALF_NOT_FINITE,
};

// Where a payload is read next, chunk after chunk. Of an fp16 payload only the walk counts.
struct Cursor {
    Walk walk;
    const u8* records;  // the first of all
    const u8* bitmaps;  // the next
};

struct Operations {
    // Compresses chunks [begin, end): writes their records, and their bitmaps one after the other to `bitmaps`, which has room
    // for the longest. Returns the bytes of the bitmaps, or NOT_FINITE.
    u64 (*compress)(const CompressJob& job, u64 begin, u64 end, u8* bitmaps);

    // Residuals and halves of `count` elements. Returns whether all totals are finite.
    bool (*compress_halves)(const Source& source, float decay, u64 count, u8* halves);

    // Checks the next chunks of a sparse payload of the right length.
    Refusal (*check)(Cursor& cursor, u64 chunks);
    bool (*halves_finite)(const u8* halves, u64 count);

    // Of payloads that have been checked: into += weight * decoded in the next chunks, patch after patch in each chunk.
    void (*accumulate)(const Patch* patches, Cursor* cursors, u64 count, u64 chunks, float* const* into);
    void (*entries)(Cursor& cursor, u64 chunks, i64* index, float* values);
    void (*floats_of_halves)(const u8* halves, u64 count, float* values);
};

extern const Operations PORTABLE;
#if defined(__x86_64__)
extern const Operations AVX2;
extern const Operations AVX512;
#endif

}  // namespace collab
