// The CUDA kernels' bodies, compiled for the host: a grid is a loop over blocks, shared memory a struct full of garbage.
//
// Every kernel NAME of kernels/csrc/cuda.cu is here `void NAME(u64 blocks, const Arguments*)`, beside `u64 size_of_NAME()`.

#include <cstring>

#include "compress.h"
#include "decode.h"
#include "fisher.h"

namespace {

bool backwards = false;

template <class Work>
void for_blocks(collab::u64 blocks, Work work) {
    for (collab::u64 i = 0; i < blocks; ++i) work(backwards ? blocks - 1 - i : i);
}

template <class Shared>
void fill_with_garbage(Shared& shared) {
    std::memset(static_cast<void*>(&shared), 0xA5, sizeof shared);
}

}  // namespace

using namespace collab;

using Wide = HostBlock<LANES, Marks>;
using Narrow = HostBlock<32, Number>;

#define KERNEL(NAME, BLOCK, SHARED, ARGUMENTS, CALL)                        \
    extern "C" u64 size_of_##NAME() { return sizeof(ARGUMENTS); }           \
    extern "C" void NAME(u64 blocks, const ARGUMENTS* passed) {             \
        const ARGUMENTS arguments = *passed;                                \
        for_blocks(blocks, [&](u64 number) {                                \
            BLOCK block(backwards);                                         \
            SHARED shared;                                                  \
            fill_with_garbage(shared);                                      \
            CALL;                                                           \
        });                                                                 \
    }

struct Nothing {};

KERNEL(compress_chunks, Wide, CompressShared, CompressArguments, compress_chunk(block, shared, arguments, number))
KERNEL(pack_bitmaps, Narrow, Nothing, PackArguments, pack_bitmap(block, arguments, number))
KERNEL(check_chunks, Narrow, DecodeShared, CheckArguments, check_chunk(block, shared, arguments, number))
KERNEL(accumulate_chunks, Narrow, DecodeShared, AccumulateArguments, accumulate_chunk(block, shared, arguments, number))
KERNEL(list_chunks, Narrow, DecodeShared, EntriesArguments, list_chunk(block, shared, arguments, number))
KERNEL(square_chunks, Wide, Nothing, SquareArguments, square_chunk(block, arguments, number))
KERNEL(merge_chunks, Narrow, DecodeShared, MergeArguments, merge_chunk(block, shared, arguments, number))

extern "C" u64 size_of_read_lengths() { return sizeof(LengthArguments); }
extern "C" void read_lengths(u64 blocks, const LengthArguments* arguments) {
    for_blocks(32 * blocks, [&](u64 number) {
        if (number < arguments->table.chunks) read_length(*arguments, number);
    });
}

// Whether blocks, and lanes in a phase, run from the last to the first.
extern "C" void run_backwards(int yes) { backwards = yes != 0; }
