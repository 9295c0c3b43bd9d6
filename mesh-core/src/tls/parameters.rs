/// What the two sides may agree on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// Oldest version; not newer than `maximum`.
    pub minimum: Version,
    /// Newest version.
    pub maximum: Version,
    /// Cipher suites of TLS 1.2, best first; those of TLS 1.3 cannot be chosen. Empty for the library's choice.
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups of the key exchange, best first. Empty for the library's choice.
    pub groups: Vec<Group>,
}

impl Default for Parameters {
    /// TLS 1.2 and 1.3, and the library's choice of the rest.
    fn default() -> Self {
        Self { minimum: Version::Tls12, maximum: Version::Tls13, cipher_suites: Vec::new(), groups: Vec::new() }
    }
}

/// A version of TLS; there are no older ones here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 1.2 (RFC 5246).
    Tls12,
    /// 1.3 (RFC 8446).
    Tls13,
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that OpenSSL and Envoy know it by.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// Reads the name that OpenSSL and Envoy know it by.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text)
            }
        }
    };
}

named! {
    /// A cipher suite of TLS 1.2: those with forward secrecy and authenticated encryption, and no others.
    CipherSuite {
        /// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`
        EcdheEcdsaAes128Gcm = "ECDHE-ECDSA-AES128-GCM-SHA256",
        /// `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`
        EcdheEcdsaAes256Gcm = "ECDHE-ECDSA-AES256-GCM-SHA384",
        /// `TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256`
        EcdheEcdsaChacha20Poly1305 = "ECDHE-ECDSA-CHACHA20-POLY1305",
        /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`
        EcdheRsaAes128Gcm = "ECDHE-RSA-AES128-GCM-SHA256",
        /// `TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384`
        EcdheRsaAes256Gcm = "ECDHE-RSA-AES256-GCM-SHA384",
        /// `TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256`
        EcdheRsaChacha20Poly1305 = "ECDHE-RSA-CHACHA20-POLY1305",
    }
}

named! {
    /// A group of the key exchange.
    Group {
        /// Curve25519 with ML-KEM-768, against those who record now and decrypt later.
        X25519MlKem768 = "X25519MLKEM768",
        /// Curve25519.
        X25519 = "X25519",
        /// NIST's curve of 256 bits.
        P256 = "P-256",
        /// NIST's curve of 384 bits.
        P384 = "P-384",
    }
}
