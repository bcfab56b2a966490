// Drives the native codec under sanitizers: random tensors compressed, their payloads decoded, then damaged and decoded again.
//
// Every buffer is of its exact size on the heap, so that a byte too far is found. All instruction sets must agree. Prints how
// many damaged payloads were decoded and how many refused. Arguments: rounds, seed.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cpu_operations.h"

using collab::i64;
using collab::Kind;
using collab::Patch;
using collab::Source;
using collab::u16;
using collab::u32;
using collab::u64;
using collab::u8;

extern "C" {
u32 collab_sets();
void collab_seal(u8*, u64);
u64 collab_most_bytes(const u64*, u64, const u8*, u32);
i64 collab_compress(const u64*, u64, const u8*, const Source*, u32, float, u32, u32, u8*);
i64 collab_compress_halves(const u64*, u64, const Source*, float, u32, u32, u8*);
i64 collab_check(const u64*, u64, const Patch*, u64, u32, u32);
i64 collab_accumulate(const u64*, u64, const Patch*, u64, float* const*, u32, u32);
i64 collab_entries(const u64*, u64, const Patch*, i64*, float*, u32, u32);
}

namespace {

std::mt19937_64 generator;

u64 below(u64 bound) { return generator() % bound; }

template <class T>
T any_of(std::initializer_list<T> choices) {
    return choices.begin()[below(choices.size())];
}

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "not so: %s\n", what);
    std::abort();
}

// Of exactly so many elements.
template <class T>
struct Buffer {
    explicit Buffer(u64 size) : size(size), data(new T[size]()) {}
    Buffer(const T* from, u64 size) : Buffer(size) {
        if (size > 0) std::memcpy(data.get(), from, size * sizeof(T));
    }
    bool operator==(const Buffer& other) const {
        return size == other.size && (size == 0 || std::memcmp(data.get(), other.data.get(), size * sizeof(T)) == 0);
    }

    u64 size;
    std::unique_ptr<T[]> data;
};

float value_of(u32 kind) {
    switch (kind) {
        case 0: return std::normal_distribution<float>()(generator);
        case 1: return static_cast<float>(below(5)) - 2;
        case 2: return below(50) == 0 ? 1.0f : -0.0f;
        case 3: return std::ldexp(static_cast<float>(below(1000)) - 500, -148);
        default: {
            const float value = collab::float_of(static_cast<u32>(generator()));
            return std::isfinite(value) ? value / 4 : 0;
        }
    }
}

struct Model {
    std::vector<u64> elements;
    std::vector<u8> densities;
    u32 bits;
    bool halves;
    std::vector<Buffer<float>> delta, residual;
    std::vector<Buffer<u16>> bf16;  // of each delta that is
    bool feedback;

    Model() : bits(static_cast<u32>(1 + below(8))), halves(below(5) == 0), feedback(below(2) == 0) {
        for (u64 left = 1 + below(4); left > 0; --left) {
            elements.push_back(any_of<u64>({0, 1, 2, 9, 63, 64, 65, 100, 130, 1000, 4095, 4096, 4097, 9000}));
            densities.push_back(any_of<u8>({0, 1, 4, 4, 9, 32}));
            const u32 kind = static_cast<u32>(below(5));
            delta.emplace_back(elements.back());
            residual.emplace_back(elements.back());
            bf16.emplace_back(below(3) == 0 ? elements.back() : 0);
            for (u64 i = 0; i < elements.back(); ++i) {
                delta.back().data[i] = value_of(kind);
                residual.back().data[i] = value_of(kind);
                if (bf16.back().size > 0) bf16.back().data[i] = static_cast<u16>(collab::bits_of(value_of(kind)) >> 16);
            }
        }
    }

    u64 tensors() const { return elements.size(); }
};

struct Outcome {
    std::vector<Buffer<float>> out;
    Buffer<u8> payload;

    bool operator==(const Outcome& other) const { return out == other.out && payload == other.payload; }
};

i64 compress_into(const Model& model, const std::vector<Source>& sources, u32 threads, u32 set, u8* body) {
    const u64* elements = model.elements.data();
    if (model.halves) return collab_compress_halves(elements, model.tensors(), sources.data(), 0.9f, threads, set, body);
    const u8* densities = model.densities.data();
    return collab_compress(elements, model.tensors(), densities, sources.data(), model.bits, 0.9f, threads, set, body);
}

Outcome compress(const Model& model, u32 threads, u32 set) {
    Outcome result{{}, Buffer<u8>(0)};
    std::vector<Source> sources;
    const bool in_place = model.feedback && below(2) == 0;
    u64 most = 0;
    for (u64 i = 0; i < model.tensors(); ++i) {
        result.out.emplace_back(model.residual[i].data.get(), model.elements[i]);
        float* out = result.out.back().data.get();
        const bool is_bf16 = model.bf16[i].size > 0;
        const void* delta = is_bf16 ? static_cast<const void*>(model.bf16[i].data.get()) : model.delta[i].data.get();
        sources.push_back({delta, !model.feedback ? nullptr : in_place ? out : model.residual[i].data.get(), out, is_bf16});
        most += 2 * model.elements[i];
    }
    if (!model.halves) most = collab_most_bytes(model.elements.data(), model.tensors(), model.densities.data(), model.bits);
    Buffer<u8> room(most);
    const i64 written = compress_into(model, sources, threads, set, room.data.get());
    require(written >= 0 && static_cast<u64>(written) <= most, "a payload is no longer than its bound");
    result.payload = Buffer<u8>(collab::HEADER_BYTES + static_cast<u64>(written));
    if (written > 0) std::memcpy(result.payload.data.get() + collab::HEADER_BYTES, room.data.get(), static_cast<u64>(written));
    collab_seal(result.payload.data.get(), result.payload.size);
    return result;
}

void check_entries(const Model& model, const Patch& patch, u32 threads, u32 set) {
    const collab::Shape shape{model.elements.data(), model.tensors()};
    const std::vector<u8> none(model.tensors());
    const u8* densities = model.halves ? none.data() : patch.payload + collab::HEADER_BYTES;
    const u64 kept = collab::Walk(shape, densities, model.bits, shape.chunks()).place.entry;
    Buffer<i64> index(model.halves ? 0 : kept);
    Buffer<float> values(kept);
    const i64 status = collab_entries(shape.elements, shape.tensors, &patch, index.data.get(), values.data.get(), threads, set);
    require(status == 0, "what is checked has entries");
    for (u64 i = 0; i < kept; ++i) require(std::isfinite(values.data[i]), "values are finite");
}

// Decodes in every way; returns whether the payload was accepted.
bool decode(const Model& model, const Buffer<u8>& payload) {
    const Patch patch{payload.data.get(), payload.size, model.halves ? Kind::FP16 : Kind::SPARSE, model.bits, 0.5f, 0};
    const u64* elements = model.elements.data();
    i64 verdict = 0;
    std::vector<Buffer<float>> first;
    for (u32 set = 0; set < collab_sets(); ++set) {
        const u32 threads = static_cast<u32>(1 + below(2));
        const i64 found = collab_check(elements, model.tensors(), &patch, 1, threads, set);
        require(set == 0 || found == verdict, "all sets give one verdict");
        verdict = found;
        std::vector<Buffer<float>> into;
        std::vector<float*> pointers;
        for (const u64 count : model.elements) pointers.push_back(into.emplace_back(count).data.get());
        const i64 added = collab_accumulate(elements, model.tensors(), &patch, 1, pointers.data(), threads, set);
        require(added == verdict, "what is checked is what is added");
        if (verdict == 0) {
            require(set == 0 || into == first, "all sets decode alike");
            check_entries(model, patch, threads, set);
        } else {
            for (const Buffer<float>& tensor : into)
                for (u64 i = 0; i < tensor.size; ++i) require(tensor.data[i] == 0, "a refused payload changes nothing");
        }
        first = std::move(into);
    }
    return verdict == 0;
}

Buffer<u8> damaged(const Buffer<u8>& payload) {
    std::vector<u8> bytes(payload.data.get(), payload.data.get() + payload.size);
    const u64 header = collab::HEADER_BYTES;
    for (u64 left = 1 + below(3); left > 0; --left) {
        const u64 at = header + (bytes.size() > header ? below(bytes.size() - header) : 0);
        switch (bytes.size() > header ? below(8) : 5) {
            case 0: bytes.resize(at); break;
            case 1: bytes.erase(bytes.begin() + static_cast<i64>(at)); break;
            case 2: bytes[at] = any_of<u8>({0, 1, 0x7F, 0x80, 0xFF}); break;
            case 3: std::swap(bytes[at], bytes[header + below(bytes.size() - header)]); break;
            case 5: bytes.insert(bytes.begin() + static_cast<i64>(at), static_cast<u8>(generator())); break;
            default: bytes[at] ^= static_cast<u8>(1u << below(8)); break;
        }
    }
    Buffer<u8> result(bytes.data(), bytes.size());
    if (below(20) > 0) collab_seal(result.data.get(), result.size);
    return result;
}

}  // namespace

int main(int, char** arguments) {
    u64 decoded = 0, refused = 0;
    generator.seed(std::strtoull(arguments[2], nullptr, 10));
    for (u64 left = std::strtoull(arguments[1], nullptr, 10); left > 0; --left) {
        const Model model;
        const Outcome outcome = compress(model, 1, 0);
        for (u32 set = 0; set < collab_sets(); ++set) require(compress(model, 2, set) == outcome, "all sets compress alike");
        require(decode(model, outcome.payload), "what was compressed is decoded");
        for (u32 i = 0; i < 20; ++i) ++(decode(model, damaged(outcome.payload)) ? decoded : refused);
    }
    std::printf("%llu %llu\n", decoded, refused);
}
