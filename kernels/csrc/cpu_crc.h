// CRC-32 as zlib computes it, sixteen bytes at a time by tables (Kounavis and Berry 2008).

#pragma once

#include "format.h"

namespace collab {

constexpr u32 CRC_SLICES = 16;

struct CrcTables {
    u32 of[CRC_SLICES][256] = {};

    constexpr CrcTables() {
        for (u32 byte = 0; byte < 256; ++byte) {
            u32 crc = byte;
            for (u32 bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xEDB88320u : 0);
            of[0][byte] = crc;
        }
        for (u32 slice = 1; slice < CRC_SLICES; ++slice) {
            for (u32 byte = 0; byte < 256; ++byte) {
                const u32 before = of[slice - 1][byte];
                of[slice][byte] = (before >> 8) ^ of[0][before & 255];
            }
        }
    }
};

inline constexpr CrcTables CRC_TABLES;

// The checksum of `data` after what has the checksum `before`.
inline u32 crc32(u32 before, const u8* data, u64 bytes) {
    u32 crc = ~before;
    for (; bytes >= CRC_SLICES; bytes -= CRC_SLICES, data += CRC_SLICES) {
        u32 next = 0;
        for (u32 i = 0; i < CRC_SLICES; ++i) {
            const u32 byte = data[i] ^ (i < 4 ? (crc >> (8 * i)) & 255 : 0);
            next ^= CRC_TABLES.of[CRC_SLICES - 1 - i][byte];
        }
        crc = next;
    }
    for (; bytes > 0; --bytes, ++data) crc = (crc >> 8) ^ CRC_TABLES.of[0][(crc ^ *data) & 255];
    return ~crc;
}

constexpr u64 CHECKSUM_AT = 8;

// Of a payload of at least 12 bytes, as if the checksum's field were zero.
inline u32 checksum_of(const u8* payload, u64 bytes) {
    const u8 zeros[4] = {};
    const u64 after = CHECKSUM_AT + sizeof zeros;
    return crc32(crc32(crc32(0, payload, CHECKSUM_AT), zeros, sizeof zeros), payload + after, bytes - after);
}

}  // namespace collab
