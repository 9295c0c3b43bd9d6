//! End-to-end tests: control plane, node proxies, cuts.
