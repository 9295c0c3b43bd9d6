//! The cryptography of TLS and of chains: aws-lc-rs, in the settings that are used here.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Whether keys are exchanged so that a future quantum computer cannot read what is recorded today (X25519MLKEM768,
/// draft-ietf-tls-ecdhe-mlkem).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostQuantum {
    /// With every peer that can; others by elliptic curves alone. The default.
    #[default]
    Preferred,
    /// Peers that cannot are refused.
    Required,
    /// Never: handshakes are about 2 KiB shorter.
    Off,
}

/// The cryptography of all our TLS: aws-lc-rs with HBONE's cipher suites and key exchanges.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    provider_with(PostQuantum::Preferred)
}

pub(crate) fn provider_with(post_quantum: PostQuantum) -> Arc<CryptoProvider> {
    static PROVIDERS: OnceLock<[Arc<CryptoProvider>; 3]> = OnceLock::new();
    let [preferred, required, off] = PROVIDERS.get_or_init(|| {
        use aws_lc_rs::{cipher_suite, kx_group};
        let with = |kx_groups| {
            Arc::new(CryptoProvider {
                cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384, cipher_suite::TLS13_AES_128_GCM_SHA256],
                kx_groups,
                ..aws_lc_rs::default_provider()
            })
        };
        let hybrid = kx_group::X25519MLKEM768;
        let curves = [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
        [with([&[hybrid], &curves[..]].concat()), with(vec![hybrid]), with(curves.to_vec())]
    });
    Arc::clone(match post_quantum {
        PostQuantum::Preferred => preferred,
        PostQuantum::Required => required,
        PostQuantum::Off => off,
    })
}

/// For servers of the Web: aws-lc-rs with rustls' own choice.
pub(crate) fn web_provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}
