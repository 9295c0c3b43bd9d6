//! The node proxy: carries, protects and refuses the L4 traffic of one node's workloads.
