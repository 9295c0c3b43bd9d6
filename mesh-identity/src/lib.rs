//! SPIFFE identity: SVIDs, authority, trust bundles, rustls verifiers and live TLS configurations.
