//! Envoy's TLS transport sockets and `Secret`s ↔ [`mesh_core::tls`].
//!
//! What would weaken the verification of a peer, or verify it otherwise than is done here, is refused. A server is always
//! verified: an `UpstreamTlsContext` without a trusted authority, which Envoy takes as *trust anybody*, is refused too.
//!
//! | field | how it is taken |
//! | --- | --- |
//! | **transport socket** `UpstreamTlsContext`, `DownstreamTlsContext`, `RawBuffer` | honoured; any other type: NACK |
//! | **UpstreamTlsContext** `sni`, `auto_host_sni`, `auto_sni_san_validation`, `max_session_keys` | honoured |
//! | `allow_renegotiation`, `enforce_rsa_key_usage` | warning: never renegotiated; Envoy ignores the other as well |
//! | **DownstreamTlsContext** `require_client_certificate`, `require_sni` | honoured |
//! | `disable_stateful_session_resumption`, `disable_stateless_session_resumption` | honoured |
//! | `session_ticket_keys`, `session_ticket_keys_sds_secret_config` | warning: sessions are resumed by one process only |
//! | `full_scan_certs_on_sni_mismatch`, `prefer_client_ciphers` | warning |
//! | `session_timeout`, `ocsp_staple_policy` other than lenient | NACK |
//! | **CommonTlsContext** `tls_certificates`, `tls_certificate_sds_secret_configs`, `tls_certificate_provider_instance` | honoured; only one of the three, only one certificate upstream |
//! | `validation_context`, `validation_context_sds_secret_config`, `combined_validation_context`, `alpn_protocols` | honoured |
//! | `key_log` | warning: keys are not logged |
//! | `custom_tls_certificate_selector`, `custom_handshaker`, the deprecated certificate providers | NACK |
//! | **TlsParameters** versions 1.2 and 1.3, `cipher_suites` of TLS 1.2 with forward secrecy, `ecdh_curves` | honoured; other values: NACK |
//! | `signature_algorithms`, `compliance_policies` | NACK |
//! | **TlsCertificate** `certificate_chain`, `private_key`, `ocsp_staple` | honoured |
//! | `watched_directory`, `signed_certificate_timestamp` | warning |
//! | `pkcs12`, `private_key_provider`, `password`, `tls_params` | NACK |
//! | **CertificateValidationContext** `trusted_ca`, `ca_certificate_provider_instance`, `system_root_certs` | honoured; the first two exclude each other |
//! | `match_typed_subject_alt_names` (mail, DNS, URI, IP), `match_subject_alt_names` | honoured; other kinds: NACK |
//! | `verify_certificate_hash`, `verify_certificate_spki`, `crl`, `only_verify_leaf_cert_crl`, `max_verify_depth` | honoured |
//! | `watched_directory`, `suppress_client_ca_list` | warning |
//! | `allow_expired_certificate`, `trust_chain_verification`, `require_signed_certificate_timestamp`, `custom_validator_config` | NACK |
//! | **DataSource** `filename`, `inline_bytes`, `inline_string` | honoured |
//! | `watched_directory` | warning |
//! | `environment_variable` | NACK |
//! | **Secret** `tls_certificate`, `validation_context`, `generic_secret` | honoured; `session_ticket_keys`: NACK |
//! | **SdsSecretConfig** `name`, `sds_config` | honoured, if the source is the same server |

mod common;
mod data;
mod parameters;
mod secret;
mod socket;
mod validation;

pub use secret::{decode_secret, encode_secret};
pub(super) use socket::{downstream_socket, upstream_socket, wire_downstream_socket, wire_upstream_socket};

#[cfg(test)]
pub(super) mod tests;
