// The chunks of a layout in the order of the wire, with the places of their parts in a payload.

#pragma once

#include "format.h"

namespace collab {

struct Shape {
    const u64* elements;  // of each tensor
    u64 tensors;

    u64 chunks() const {
        u64 all = 0;
        for (u64 i = 0; i < tensors; ++i) all += (elements[i] + CHUNK - 1) / CHUNK;
        return all;
    }
};

// Offsets count from the first record, the first bitmap (if each were as long as it may be) and the first kept value.
struct Place {
    u64 record = 0;
    u64 longest_bitmap = 0;
    u64 entry = 0;
    u64 element = 0;  // over all tensors

    void pass(const Form& form, u64 chunks) {
        record += chunks * form.record_bytes();
        longest_bitmap += chunks * form.most_bitmap();
        entry += chunks * form.kept;
        element += chunks * form.size;
    }
};

class Walk {
  public:
    u64 number;     // of the chunk
    u64 tensor = 0;
    u64 start = 0;  // the chunk's first element in its tensor
    Form form;
    Place place;

    // Begins with chunk `first`; with `first` = shape.chunks() it stands at the end.
    Walk(const Shape& shape, const u8* densities, u32 value_bits, u64 first)
        : number(first), shape_(shape), densities_(densities), value_bits_(value_bits) {
        for (u64 left = first; tensor < shape_.tensors; ++tensor) {
            const u64 full = shape_.elements[tensor] / CHUNK, tail = shape_.elements[tensor] % CHUNK;
            const u64 full_passed = left < full ? left : full;
            full_form_ = form_of(CHUNK, densities_[tensor], value_bits_);
            place.pass(full_form_, full_passed);
            left -= full_passed;
            start = full_passed * CHUNK;
            if (full_passed < full || (left == 0 && tail > 0)) break;
            if (tail > 0) {
                place.pass(form_of(static_cast<u32>(tail), densities_[tensor], value_bits_), 1);
                --left;
            }
        }
        if (tensor < shape_.tensors) enter();
    }

    void next() {
        place.pass(form, 1);
        ++number;
        start += CHUNK;
        if (start >= shape_.elements[tensor]) {
            start = 0;
            do {
                if (++tensor == shape_.tensors) return;
            } while (shape_.elements[tensor] == 0);
            full_form_ = form_of(CHUNK, densities_[tensor], value_bits_);
        }
        enter();
    }

  private:
    void enter() {
        const u64 left = shape_.elements[tensor] - start;
        form = left >= CHUNK ? full_form_ : form_of(static_cast<u32>(left), densities_[tensor], value_bits_);
    }

    Shape shape_;
    const u8* densities_;
    u32 value_bits_;
    Form full_form_;
};

}  // namespace collab
