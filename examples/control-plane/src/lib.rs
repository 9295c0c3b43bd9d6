//! The control plane: reads Kubernetes-style YAML, serves workload discovery and certificates.
