//! xDS client and server: delta ADS, Istio workload discovery, last-known-good on disk.
