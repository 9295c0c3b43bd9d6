//! Regenerates the checked-in protobuf code and compares it.
