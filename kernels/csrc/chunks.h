// Where the chunks of many tensors lie, in memory and in a payload.
//
// Tables have only 64-bit fields, so that whoever fills them writes rows of integers.

#pragma once

#include "block.h"

namespace collab {

struct Tensor {
    u64 elements;
    u64 first_chunk;   // the number of its first chunk, over all tensors
    u64 density;       // the density byte
    u64 record_at;     // its first record, in bytes from the first of all
    u64 record_bytes;  // of each chunk but a shorter last one
    u64 entry_at;      // its first kept value, counted over all tensors
};

struct Table {
    const Tensor* tensors;
    const u32* owners;  // each chunk's tensor
    u64 chunks;
    u64 value_bits;
};

struct Chunk {
    u64 tensor;
    u64 start;  // its first element in its tensor
    u64 record_at;
    u64 entry_at;
    Form form;
};

COLLAB_HD Chunk chunk_of(const Table& table, u64 number) {
    Chunk chunk;
    chunk.tensor = table.owners[number];
    const Tensor& tensor = table.tensors[chunk.tensor];
    const u64 before = number - tensor.first_chunk;
    chunk.start = before * CHUNK;
    const u64 left = tensor.elements - chunk.start;
    const u32 density = static_cast<u32>(tensor.density);
    chunk.form = form_of(left < CHUNK ? static_cast<u32>(left) : CHUNK, density, static_cast<u32>(table.value_bits));
    chunk.record_at = tensor.record_at + before * tensor.record_bytes;
    chunk.entry_at = tensor.entry_at + before * (density == DENSE ? CHUNK : K_STEP * density);
    return chunk;
}

// ---- elements and lanes: 16 a lane, in four groups of four, so that a warp's loads and stores are contiguous

constexpr u32 LANES = 256;
constexpr u32 ITEMS = CHUNK / LANES;
constexpr u32 GROUPS = ITEMS / 4;

COLLAB_HD u32 group_at(u32 lane, u32 group) { return group * (4 * LANES) + 4 * lane; }
COLLAB_HD u32 position_of(u32 lane, u32 item) { return group_at(lane, item / 4) + item % 4; }

struct alignas(16) Four {
    float value[4];
};

COLLAB_HD bool aligned(const void* pointer, u64 bytes) { return reinterpret_cast<u64>(pointer) % bytes == 0; }

// Tells a compiler that a pointer which came from a table points into device memory.
template <class T>
COLLAB_BODY T* in_memory(T* pointer) {
    __builtin_assume(__isGlobal(pointer));
    return pointer;
}

COLLAB_BODY Four whole_four(const float* from) {
    const float4 four = *reinterpret_cast<const float4*>(from);
    return {{four.x, four.y, four.z, four.w}};
}

COLLAB_BODY Four whole_four(const u16* from) {
    const ushort4 four = *reinterpret_cast<const ushort4*>(from);
    return {{bf16_value(four.x), bf16_value(four.y), bf16_value(four.z), bf16_value(four.w)}};
}

COLLAB_BODY float single(const float* from) { return *from; }
COLLAB_BODY float single(const u16* from) { return bf16_value(*from); }

COLLAB_BODY void store_whole(float* to, const Four& four) {
    *reinterpret_cast<float4*>(to) = make_float4(four.value[0], four.value[1], four.value[2], four.value[3]);
}

// A lane's elements (float32 or bf16) of a chunk of `size`, from group `first` on; zeros beyond the chunk's end.
template <class T, u32 COUNT>
COLLAB_BODY void load(const T* from, u32 size, u32 lane, u32 first, Four (&groups)[COUNT]) {
    from = in_memory(from);
    if (size == CHUNK && aligned(from, 4 * sizeof(T))) {
#pragma unroll
        for (u32 group = 0; group < COUNT; ++group) groups[group] = whole_four(from + group_at(lane, first + group));
        return;
    }
#pragma unroll
    for (u32 item = 0; item < 4 * COUNT; ++item) {
        const u32 at = position_of(lane, 4 * first + item);
        groups[item / 4].value[item % 4] = at < size ? single(from + at) : 0.0f;
    }
}

// All of a lane's elements.
COLLAB_BODY void store(float* to, u32 size, u32 lane, const Four (&groups)[GROUPS]) {
    to = in_memory(to);
    if (size == CHUNK && aligned(to, 16)) {
#pragma unroll
        for (u32 group = 0; group < GROUPS; ++group) store_whole(to + group_at(lane, group), groups[group]);
        return;
    }
#pragma unroll
    for (u32 item = 0; item < ITEMS; ++item) {
        const u32 at = position_of(lane, item);
        if (at < size) to[at] = groups[item / 4].value[item % 4];
    }
}

}  // namespace collab
