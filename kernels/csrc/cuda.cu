// The kernels, as NVRTC compiles them: each gives a body from a header its block, its shared memory and the chunk's number.
// Arguments of one kernel are one struct.

#include "compress.h"
#include "decode.h"
#include "fisher.h"

using namespace collab;

using Wide = DeviceBlock<LANES, Marks>;
using Narrow = DeviceBlock<32, Number>;

// Six blocks an SM: 40 registers a thread and 26 KiB of shared memory a block.
extern "C" __global__ void __launch_bounds__(256, 6) compress_chunks(const __grid_constant__ CompressArguments arguments) {
    __shared__ Wide::Scratch scratch;
    __shared__ CompressShared shared;
    Wide block(scratch);
    compress_chunk(block, shared, arguments, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(32) pack_bitmaps(const __grid_constant__ PackArguments arguments) {
    __shared__ Narrow::Scratch scratch;
    Narrow block(scratch);
    pack_bitmap(block, arguments, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(32) read_lengths(const __grid_constant__ LengthArguments arguments) {
    const u64 number = static_cast<u64>(blockIdx.x) * 32 + threadIdx.x;
    if (number < arguments.table.chunks) read_length(arguments, number);
}

extern "C" __global__ void __launch_bounds__(32) check_chunks(const __grid_constant__ CheckArguments arguments) {
    __shared__ Narrow::Scratch scratch;
    __shared__ DecodeShared shared;
    Narrow block(scratch);
    check_chunk(block, shared, arguments, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(32) accumulate_chunks(const __grid_constant__ AccumulateArguments arguments) {
    __shared__ Narrow::Scratch scratch;
    __shared__ DecodeShared shared;
    Narrow block(scratch);
    accumulate_chunk(block, shared, arguments, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(32) list_chunks(const __grid_constant__ EntriesArguments arguments) {
    __shared__ Narrow::Scratch scratch;
    __shared__ DecodeShared shared;
    Narrow block(scratch);
    list_chunk(block, shared, arguments, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(256) square_chunks(const __grid_constant__ SquareArguments arguments) {
    __shared__ Wide::Scratch scratch;
    Wide block(scratch);
    square_chunk(block, arguments, blockIdx.x);
}

extern "C" __global__ void __launch_bounds__(32, 16) merge_chunks(const __grid_constant__ MergeArguments arguments) {
    __shared__ Narrow::Scratch scratch;
    __shared__ DecodeShared shared;
    Narrow block(scratch);
    merge_chunk(block, shared, arguments, blockIdx.x);
}
