// Made from the field tables in src/format by `npm run docs`; do not edit.
#pragma once

#include "image/bytes.h"

namespace naiad::layout {

namespace erofs_superblock {
inline constexpr uint64_t kRecordSize = 128;
inline constexpr Field<uint32_t> kMagic{0};
inline constexpr Field<uint32_t> kChecksum{4};
inline constexpr Field<uint32_t> kFeatureCompat{8};
inline constexpr Field<uint8_t> kBlockBits{12};
inline constexpr Field<uint8_t> kExtSlots{13};
inline constexpr Field<uint16_t> kRootNid{14};
inline constexpr Field<uint64_t> kInos{16};
inline constexpr Field<uint64_t> kBuildTime{24};
inline constexpr Field<uint32_t> kBuildTimeNsec{32};
inline constexpr Field<uint32_t> kBlocks{36};
inline constexpr Field<uint32_t> kMetaBlkaddr{40};
inline constexpr Field<uint32_t> kXattrBlkaddr{44};
inline constexpr Field<uint32_t> kFeatureIncompat{80};
inline constexpr Field<uint16_t> kCompression{84};
inline constexpr Field<uint16_t> kExtraDevices{86};
inline constexpr Field<uint16_t> kDevtSlotoff{88};
inline constexpr Field<uint8_t> kDirBlockBits{90};
}  // namespace erofs_superblock

namespace rafs_superblock_ext {
inline constexpr uint64_t kRecordSize = 256;
inline constexpr Field<uint64_t> kFlags{0};
inline constexpr Field<uint64_t> kBlobTableOffset{8};
inline constexpr Field<uint32_t> kBlobTableSize{16};
inline constexpr Field<uint32_t> kChunkSize{20};
inline constexpr Field<uint64_t> kChunkTableOffset{24};
inline constexpr Field<uint64_t> kChunkTableSize{32};
inline constexpr Field<uint64_t> kPrefetchTableOffset{40};
inline constexpr Field<uint32_t> kPrefetchTableSize{48};
}  // namespace rafs_superblock_ext

namespace erofs_inode_extended {
inline constexpr uint64_t kRecordSize = 64;
inline constexpr Field<uint16_t> kFormat{0};
inline constexpr Field<uint16_t> kXattrCount{2};
inline constexpr Field<uint16_t> kMode{4};
inline constexpr Field<uint64_t> kSize{8};
inline constexpr Field<uint32_t> kU{16};
inline constexpr Field<uint32_t> kIno{20};
inline constexpr Field<uint32_t> kUid{24};
inline constexpr Field<uint32_t> kGid{28};
inline constexpr Field<int64_t> kMtime{32};
inline constexpr Field<uint32_t> kMtimeNsec{40};
inline constexpr Field<uint32_t> kNlink{44};
}  // namespace erofs_inode_extended

namespace erofs_inode_compact {
inline constexpr uint64_t kRecordSize = 32;
inline constexpr Field<uint16_t> kFormat{0};
inline constexpr Field<uint16_t> kXattrCount{2};
inline constexpr Field<uint16_t> kMode{4};
inline constexpr Field<uint16_t> kNlink{6};
inline constexpr Field<uint32_t> kSize{8};
inline constexpr Field<uint32_t> kU{16};
inline constexpr Field<uint32_t> kIno{20};
inline constexpr Field<uint16_t> kUid{24};
inline constexpr Field<uint16_t> kGid{26};
}  // namespace erofs_inode_compact

namespace erofs_dirent {
inline constexpr uint64_t kRecordSize = 12;
inline constexpr Field<uint64_t> kNid{0};
inline constexpr Field<uint16_t> kNameOffset{8};
inline constexpr Field<uint8_t> kType{10};
}  // namespace erofs_dirent

namespace erofs_xattr_header {
inline constexpr uint64_t kRecordSize = 12;
inline constexpr Field<uint32_t> kNameFilter{0};
inline constexpr Field<uint8_t> kSharedCount{4};
}  // namespace erofs_xattr_header

namespace erofs_xattr_entry {
inline constexpr uint64_t kRecordSize = 4;
inline constexpr Field<uint8_t> kNameSize{0};
inline constexpr Field<uint8_t> kPrefix{1};
inline constexpr Field<uint16_t> kValueSize{2};
}  // namespace erofs_xattr_entry

namespace erofs_chunk_address {
inline constexpr uint64_t kRecordSize = 8;
inline constexpr Field<uint16_t> kChunkLow{0};
inline constexpr Field<uint16_t> kDevice{2};
inline constexpr Field<uint32_t> kBlock{4};
}  // namespace erofs_chunk_address

}  // namespace naiad::layout
