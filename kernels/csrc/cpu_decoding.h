// Payloads from anywhere: lengths first, then every field; only then are they decoded.

#pragma once

#include <cstring>

#include "cpu_crc.h"
#include "cpu_operations.h"
#include "cpu_threads.h"

namespace collab {

constexpr u64 LEAST_CHUNKS = 8;  // for which a thread is worth while

class Decoding {
  public:
    Decoding(const Shape& shape, const Patch* patches, u64 count, u64 threads, const Operations& set)
        : shape_(shape), chunks_(shape.chunks()), patches_(patches), count_(count), threads_(threads), set_(set),
          ranges_(chunks_, threads, LEAST_CHUNKS), no_densities_(shape.tensors), bitmaps_(count * ranges_.count()) {}

    // Finds out where bitmaps begin, so it comes before all else.
    Refusal check() {
        std::vector<Refusal> found(count_, Refusal::NONE);
        Ranges(count_, threads_, 1).run([&](u64, u64 first, u64 last) {
            for (u64 patch = first; patch < last; ++patch) found[patch] = measure(patch);
        });
        const Refusal refusal = first_of(found);
        if (refusal != Refusal::NONE) return refusal;
        found.assign(ranges_.count(), Refusal::NONE);
        ranges_.run([&](u64 range, u64 first, u64 last) {
            for (u64 patch = 0; patch < count_ && found[range] == Refusal::NONE; ++patch)
                found[range] = check_range(patch, range, first, last);
        });
        return first_of(found);
    }

    void accumulate(float* const* into) const {
        std::vector<Cursor> cursors;  // range by range
        cursors.reserve(ranges_.count() * count_);
        for (u64 range = 0; range < ranges_.count(); ++range)
            for (u64 patch = 0; patch < count_; ++patch) cursors.push_back(cursor(patch, range));
        ranges_.run([&](u64 range, u64 first, u64 last) {
            set_.accumulate(patches_, cursors.data() + range * count_, count_, last - first, into);
        });
    }

    // Of the first patch; `index` is not written for fp16.
    void entries(i64* index, float* values) const {
        ranges_.run([&](u64 range, u64 first, u64 last) {
            Cursor from = cursor(0, range);
            if (patches_[0].kind == Kind::SPARSE) return set_.entries(from, last - first, index, values);
            const u64 begin = from.walk.place.element;
            set_.floats_of_halves(body(0) + 2 * begin, walk(0, last).place.element - begin, values + begin);
        });
    }

  private:
    const u8* body(u64 patch) const { return patches_[patch].payload + HEADER_BYTES; }
    const u8* records(u64 patch) const { return body(patch) + shape_.tensors; }

    Walk walk(u64 patch, u64 chunk) const {
        const bool sparse = patches_[patch].kind == Kind::SPARSE;
        return Walk(shape_, sparse ? body(patch) : no_densities_.data(), patches_[patch].value_bits, chunk);
    }

    Cursor cursor(u64 patch, u64 range) const {
        return {walk(patch, ranges_.begin(range)), records(patch), bitmaps_[patch * ranges_.count() + range]};
    }

    static Refusal first_of(const std::vector<Refusal>& found) {
        for (const Refusal refusal : found)
            if (refusal != Refusal::NONE) return refusal;
        return Refusal::NONE;
    }

    static bool intact(const Patch& patch) {
        u32 claimed;
        std::memcpy(&claimed, patch.payload + CHECKSUM_AT, sizeof claimed);
        return claimed == checksum_of(patch.payload, patch.bytes);
    }

    // The checksum, densities and all lengths.
    Refusal measure(u64 number) {
        const Patch& patch = patches_[number];
        if (patch.bytes < HEADER_BYTES) return Refusal::LENGTH;
        if (!intact(patch)) return Refusal::CHECKSUM;
        const u64 bytes = patch.bytes - HEADER_BYTES;
        if (patch.kind == Kind::FP16) return bytes == 2 * walk(number, chunks_).place.element ? Refusal::NONE : Refusal::LENGTH;
        if (bytes < shape_.tensors) return Refusal::LENGTH;
        for (u64 i = 0; i < shape_.tensors; ++i)
            if (body(number)[i] > MAX_K / K_STEP) return Refusal::DENSITIES;
        const u64 before_bitmaps = shape_.tensors + walk(number, chunks_).place.record;
        if (bytes < before_bitmaps) return Refusal::LENGTH;
        return find_bitmaps(number, before_bitmaps, bytes);
    }

    Refusal find_bitmaps(u64 number, u64 at, u64 bytes) {
        u64 range = 0;
        for (Walk walk = this->walk(number, 0);; walk.next()) {
            for (; range < ranges_.count() && ranges_.begin(range) == walk.number; ++range)
                bitmaps_[number * ranges_.count() + range] = body(number) + at;
            if (walk.number == chunks_) return at == bytes ? Refusal::NONE : Refusal::LENGTH;
            if (!walk.form.has_gaps()) continue;
            const u32 length = walk.form.least_bitmap() + records(number)[walk.place.record];
            if (length > walk.form.most_bitmap()) return Refusal::BITMAP_TOO_LONG;
            if (length > bytes - at) return Refusal::LENGTH;
            at += length;
        }
    }

    Refusal check_range(u64 patch, u64 range, u64 first, u64 last) const {
        Cursor from = cursor(patch, range);
        if (patches_[patch].kind == Kind::SPARSE) return set_.check(from, last - first);
        const u64 begin = from.walk.place.element, end = walk(patch, last).place.element;
        return set_.halves_finite(body(patch) + 2 * begin, end - begin) ? Refusal::NONE : Refusal::HALF_NOT_FINITE;
    }

    Shape shape_;
    u64 chunks_;
    const Patch* patches_;
    u64 count_;
    u64 threads_;
    const Operations& set_;
    Ranges ranges_;
    std::vector<u8> no_densities_;    // for walks through fp16 payloads
    std::vector<const u8*> bitmaps_;  // of each patch, where the bitmaps of each range begin
};

}  // namespace collab
